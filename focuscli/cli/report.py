"""`focus report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.cli.options import DatasetOpt, DeviceOpt, ForceOpt, PrecisionOpt
from focuscli.errors import InputError, UsageError
from focuscli.storage import paths

SUFFIXES = (".html", ".htm")


def report_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Run names or folders; default: the latest run.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML file; default: report.html in the run folder, of several runs here."),
    ] = None,
    dataset: DatasetOpt = None,
    split: Annotated[str, typer.Option(help="Which images: test, val, train, trainval, all.")] = "test",
    crops: Annotated[
        bool, typer.Option("--crops/--no-crops", help="Pictures of the data set; without them it may be shared.")
    ] = True,
    errors: Annotated[
        int, typer.Option(min=0, max=24, help="Most confident errors shown per attribute, of each kind.")
    ] = 3,
    force: ForceOpt = False,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
) -> None:
    """One self-contained HTML page on a run, or a comparison of several."""
    names = runs or ["latest"]
    folders = [paths.resolve_checkpoint(name) for name in names]
    if len(set(folders)) < len(folders):
        raise UsageError("A run is named twice.", "Name each run once.")
    target = output or (folders[0].parent.parent if len(folders) == 1 else Path()) / "report.html"
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--output wants a .html file; got {target}.")
    if target.exists() and not force:
        raise InputError(
            f"{target} exists already; nothing was changed.", "Add --force to replace it, or give -o FILE.html."
        )

    from focuscli.storage.files import write_text
    from focuscli.tools.report.collect import Options, collect
    from focuscli.tools.report.page import render_page

    options = Options(
        dataset=dataset,
        split=split,
        errors=errors,
        crops=crops,
        device=device or "auto",
        precision=precision or "auto",
        workers=workers,
    )
    reports = collect([str(folder) for folder in folders], options, render.progress)
    page = render_page(reports)
    write_text(target, page)
    figures = {report.name: report.main.to_json()["metrics"] for report in reports}
    render.result(
        {
            "report": str(target),
            "bytes": len(page.encode()),
            "crops": crops,
            "figures": figures,
            "threshold_source": {report.name: report.main.threshold_source for report in reports},
            "weights": {report.name: report.main.weights for report in reports},
        },
        lines=[str(target)],
    )
    render.note(f"wrote {target}  {len(page.encode()) / 2**20:.1f} MiB" + ("" if crops else ", without crops"))
