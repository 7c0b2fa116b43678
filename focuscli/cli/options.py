"""Options that several commands share, each spelled in one place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from focuscli import __version__
from focuscli.cli import render
from focuscli.errors import UsageError

DatasetOpt = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="A prepared dataset's name, or a dataset folder.", metavar="NAME|FOLDER"),
]
CHECKPOINT = ("--checkpoint", "-c")
RUN = "A run's name or folder, a checkpoint folder,"
CheckpointOpt = Annotated[
    str | None, typer.Option(*CHECKPOINT, metavar="RUN", help=f"{RUN} or clip. Default: the latest run.")
]
CheckpointsOpt = Annotated[
    list[str] | None,
    typer.Option(*CHECKPOINT, metavar="RUN", help=f"{RUN} or clip; several with --open-domain. Default: latest."),
]
DeviceOpt = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOpt = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")]
RegionOpt = Annotated[str | None, typer.Option(help="Of unseen texts (head, upper, ...); default: by the words.")]
FreeOpt = Annotated[bool, typer.Option("--free", help="Take texts as they are, also one near a known text or a list.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]


def _set_home(value: str | None) -> None:
    if value == "":
        raise UsageError("--home is empty.", "Name the folder of datasets and weights: --home FOLDER")
    if value is not None:
        os.environ["FOCUS_HOME"] = value


def _show_version(value: bool) -> None:
    if value:
        print(f"focus {__version__}")
        raise typer.Exit


def _global(*names: str, help: str, act: Callable[..., None], metavar: str | None = None) -> Any:
    """An option of `focus` and of every command. It acts as soon as it is read: no command takes it as an argument."""
    return typer.Option(*names, help=help, callback=act, metavar=metavar, is_eager=True, expose_value=False)


JsonOpt = Annotated[
    bool,
    _global("--json", help="One JSON object on stdout, also for errors.", act=lambda on: render.configure(json=on)),
]
QuietOpt = Annotated[
    bool, _global("--quiet", "-q", help="No progress and no notes.", act=lambda on: render.configure(quiet=on))
]
VerboseOpt = Annotated[
    bool, _global("--verbose", "-v", help="Tracebacks of errors.", act=lambda on: render.configure(verbose=on))
]
HomeOpt = Annotated[
    str | None,
    _global("--home", help="Folder of datasets and weights; default: FOCUS_HOME.", act=_set_home, metavar="FOLDER"),
]
VersionOpt = Annotated[bool, _global("--version", help="Show the version.", act=_show_version)]
