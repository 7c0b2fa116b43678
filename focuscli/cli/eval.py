"""`focus eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from focuscli import paths
from focuscli.cli import render, views
from focuscli.cli.app import app
from focuscli.cli.options import CheckpointOpt, DatasetOpt, DeviceOpt, PrecisionOpt
from focuscli.errors import CheckFailed, UsageError

THRESHOLDS = ("val", "global", "oracle")
FIGURES = ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")


@app.command("eval")
def eval_command(
    checkpoint: CheckpointOpt = None,
    dataset: DatasetOpt = None,
    split: Annotated[str, typer.Option(help="Which images: test, val, train, trainval, all.")] = "test",
    threshold: Annotated[
        str,
        typer.Option(
            help="val: per attribute, from training's val; global: one value from there; oracle: on this split."
        ),
    ] = "val",
    per_attribute: Annotated[bool, typer.Option("--per-attribute", help="Also a row per attribute.")] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Fail (exit 5) unless a figure reaches a mark in percent: 'mA>=74'; repeatable."),
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
) -> None:
    """Closed-set figures of a checkpoint on a dataset: mA, Acc, Prec, Recall, F1, F1h."""
    if threshold not in THRESHOLDS:
        raise UsageError(f'Unknown threshold source "{threshold}".', f"Known: {', '.join(THRESHOLDS)}.")
    marks = [_mark(text) for text in require or []]
    folder = paths.resolve_checkpoint(checkpoint)
    target = paths.resolve_dataset(dataset) if dataset else None

    from focuscli.data.folder import read_folder
    from focuscli.engine.evaluate import ThresholdMode, evaluate
    from focuscli.files import write_json
    from focuscli.recognizer import Recognizer

    recognizer = Recognizer.from_checkpoint(folder, device=device or "auto", precision=precision or "auto")
    data = read_folder(target or paths.resolve_dataset(recognizer.config.data.dataset))
    with render.progress("scoring images") as progress:
        report = evaluate(
            recognizer, data, split, threshold=cast(ThresholdMode, threshold), workers=workers, progress=progress
        )
    written = _report_file(recognizer.folder, report.dataset, split, threshold)
    write_json(written, report.to_json())
    missed = [
        f"{name} is {100 * (report.metrics[name] or 0):.2f}, not at least {value:g}"
        for name, value in marks
        if not 100 * (report.metrics[name] or 0) >= value
    ]
    failure = CheckFailed("; ".join(missed) + f" ({report.threshold_source}).")
    if missed and render.as_json():
        # One object for both: the figures are of use also where a mark is missed.
        error = {"code": failure.exit_code, "message": failure.problem, "hint": None}
        render.result({**report.to_json(), "error": error}, lines=[])
        raise typer.Exit(failure.exit_code)
    views.evaluation(report, per_attribute=per_attribute, written=written)
    if missed:
        raise failure


def _report_file(checkpoint: Path, dataset: str, split: str, threshold: str) -> Path:
    """eval/ in the run folder, or beside a checkpoint that lies elsewhere."""
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint
    return run / "eval" / f"{dataset}-{split}-{threshold}-{checkpoint.name}.json"


def _mark(text: str) -> tuple[str, float]:
    name, comparison, value = text.partition(">=")
    try:
        if comparison and name.strip() in FIGURES:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise UsageError(f'--require wants FIGURE>=PERCENT; got "{text}".', f"Figures: {', '.join(FIGURES)}.")
