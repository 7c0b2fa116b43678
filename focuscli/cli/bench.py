"""`focus bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.bench.works import expand, pin_threads, run_works
from focuscli.cli import render
from focuscli.cli.app import app
from focuscli.cli.options import DeviceOpt, ForceOpt
from focuscli.errors import CheckFailed, InputError, UsageError

if TYPE_CHECKING:
    from focuscli.bench.results import Measurement, Results

TABLE = "table"


@app.command("bench")
def bench_command(
    work: Annotated[str, typer.Argument(help="encode, score, train, data, search, startup or all; or table.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="For table: results files of --json.")
    ] = None,
    device: DeviceOpt = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16; auto: all that this device has.")] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Images per call. [default: 16, train 32, data 32]")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds that count, after a warm-up. [default: 5 to 9]")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each measured process.")] = 1,
    model: Annotated[str, typer.Option(help="vit-b16 or tiny.")] = "vit-b16",
    quick: Annotated[bool, typer.Option("--quick", help="Small and few: shows that it works, not how fast.")] = False,
    json_file: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the results there.")] = None,
    readme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For table: write it between this page's markers.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """How fast this machine is, in ratios to what users would pick instead, each figure with its check."""
