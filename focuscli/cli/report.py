"""`focus report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.cli.options import DatasetOpt, DeviceOpt, ForceOpt, PrecisionOpt, SplitOpt, WorkersOpt, choice, run_names
from focuscli.errors import UsageError
from focuscli.storage import paths
from focuscli.storage.files import check_free, write_text


def report_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Default: the latest run.", autocompletion=run_names)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: report.html in the run.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Figures; no page without -o.")] = None,
    file_format: Annotated[
        str | None, choice("--format", of=("pdf", "png", "svg"), help="Of the figures.", shown="pdf")
    ] = None,
    dataset: DatasetOpt = None,
    split: SplitOpt = "test",
    crops: Annotated[bool, typer.Option("--crops/--no-crops", help="Include pictures of the dataset.")] = True,
    errors: Annotated[int, typer.Option(min=0, max=24, help="Errors shown per attribute, of each kind.")] = 3,
    force: ForceOpt = False,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: WorkersOpt = 2,
) -> None:
    """Write one self-contained HTML page about a run, or a comparison of several."""
    checkpoints = [paths.resolve_checkpoint(name) for name in runs or ["latest"]]
    if len(set(checkpoints)) < len(checkpoints):
        raise UsageError("A run is named twice.", "Name each run once.")
    if file_format is not None and figures is None:
        raise UsageError("--format goes with --figures FOLDER.", f"Example: --figures figures --format {file_format}")
    if output is None and figures is None:
        output = (paths.run_folder(checkpoints[0]) if len(checkpoints) == 1 else Path()) / "report.html"
    if output is not None:
        if output.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--output must be a .html file; got {output}.")
        check_free(output, force=force, hint="Add --force to replace it, or give -o FILE.html.")
    if figures is not None:
        check_free(figures, force=force, folder=True, hint="Add --force to write into it, or name another folder.")

    from focuscli.tools.report.collect import collect
    from focuscli.tools.report.figures import run_figures, write_figures
    from focuscli.tools.report.page import render_page

    reports = collect(
        checkpoints,
        render.progress,
        dataset=dataset,
        split=split,
        errors=errors,
        crops=crops,
        device=device or "auto",
        precision=precision or "auto",
        workers=workers,
    )
    written: list[Path] = []
    size = None
    if output is not None:
        page = render_page(reports)
        write_text(output, page)
        written, size = [output], len(page.encode())
        render.note(f"wrote {output}  {size / 2**20:.1f} MiB")
    if figures is not None:
        for report in reports:
            folder = figures if len(reports) == 1 else figures / report.name
            written += write_figures(run_figures(report), folder, file_format or "pdf")
        render.note(f"wrote {len(written) - (output is not None)} figures to {figures}")
    render.result(
        {
            "report": None if output is None else str(output),
            "bytes": size,
            "figures": None if figures is None else str(figures),
            "files": [str(file) for file in written],
            "crops": crops,
            "metrics": {report.name: report.main.metrics for report in reports},
            "threshold_source": {report.name: report.main.threshold_source for report in reports},
            "weights": {report.name: report.main.weights for report in reports},
        },
        lines=[str(path) for path in (output, figures) if path is not None],
    )
