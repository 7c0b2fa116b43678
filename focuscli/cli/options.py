"""Options that several commands share, each spelled in one place."""

from __future__ import annotations

from typing import Annotated

import typer

DatasetOpt = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="A prepared dataset's name, or a dataset folder.", metavar="NAME|FOLDER"),
]
CheckpointOpt = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        "-c",
        help="A run's name or folder, a checkpoint folder, or clip. Default: the latest run.",
        metavar="RUN",
    ),
]
CheckpointsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        "-c",
        help="A run's name or folder, a checkpoint folder, or clip. Default: the latest run. Repeatable with --open-domain.",
        metavar="RUN",
    ),
]
DeviceOpt = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOpt = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")]
RegionOpt = Annotated[
    str | None, typer.Option(help="Region of the unseen texts (head, upper, ...); default: guessed from the words.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]
