"""`focus eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import find_model
from focuscli.cli.open_domain import Options, run_open_domain
from focuscli.cli.options import CheckpointsOpt, DatasetOpt, DeviceOpt, PrecisionOpt
from focuscli.errors import CheckFailed, UsageError
from focuscli.evaluation.protocols import protocol_named
from focuscli.storage import paths

if TYPE_CHECKING:
    from focuscli.engine.distributed import ProcessGroup
    from focuscli.evaluation.closed_set import ThresholdMode

THRESHOLDS = ("val", "global", "oracle")
FIGURES = ("mA", "Acc", "Prec", "Recall", "F1", "F1h", "mAP", "AUC")


def eval_command(
    checkpoint: CheckpointsOpt = None,
    dataset: DatasetOpt = None,
    split: Annotated[str, typer.Option(help="Which images: test, val, train, trainval, all.")] = "test",
    threshold: Annotated[
        str,
        typer.Option(
            help="val: per attribute, from training's val; global: one value from there; oracle: on this split."
        ),
    ] = "val",
    open_domain: Annotated[
        bool, typer.Option("--open-domain", help="Retrieval with the texts of other datasets instead: Recall@K and AP.")
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER", help="With --open-domain: dataset to test on; repeatable. Default: all prepared."
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="With --open-domain: corrected (default), or poar as POAR's program computes.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --open-domain: only this group; repeatable.")
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Accept other data than trained on under the same name or schema.")
    ] = False,
    per_attribute: Annotated[bool, typer.Option("--per-attribute", help="Also a row per attribute.")] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Fail (exit 5) unless a figure reaches a mark in percent: 'mA>=74'; repeatable."),
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
) -> None:
    """Metrics of a checkpoint: closed set (mA, Acc, Prec, Recall, F1, F1h), or --open-domain retrieval."""
    given = {"--target": target, "--protocol": protocol, "--group": group}
    closed = {"--dataset": dataset, "--require": require, "--threshold": threshold != "val"}
    _refuse_mixed(closed if open_domain else given, "closed-set figures" if open_domain else "--open-domain")
    names: list[str | None] = [*checkpoint] if checkpoint else [None]
    if open_domain:
        options = Options(
            split=split,
            protocol=protocol_named(protocol or "corrected"),
            groups=tuple(group or ()),
            other_data=other_data,
            per_attribute=per_attribute,
            device=device or "auto",
            precision=precision or "auto",
            workers=workers,
        )
        with processes.together() as together:
            run_open_domain(names, target or [], options, together)
        return
    if threshold not in THRESHOLDS:
        raise UsageError(f'Unknown threshold source "{threshold}".', f"Known: {', '.join(THRESHOLDS)}.")
    marks = [_mark(text) for text in require or []]
    closed_set = ClosedSet(dataset, split, cast("ThresholdMode", threshold), other_data, workers)
    with processes.together() as together:
        _run_closed_set(
            names, closed_set, marks, device, precision, per_attribute=per_attribute, process_group=together
        )


@dataclass(frozen=True)
class ClosedSet:
    """What the command line says about closed-set figures."""

    dataset: str | None
    split: str
    threshold: ThresholdMode
    other_data: bool
    workers: int


def _run_closed_set(
    names: Sequence[str | None],
    wanted: ClosedSet,
    marks: Sequence[tuple[str, float]],
    device: str | None,
    precision: str | None,
    *,
    per_attribute: bool,
    process_group: ProcessGroup,
) -> None:
    dataset, threshold, workers = wanted.dataset, wanted.threshold, wanted.workers
    model, *more = [find_model(name) for name in names]
    if more:
        raise UsageError("Closed-set figures are of one checkpoint.", "Several are for a matrix: add --open-domain.")
    if model.weights and not dataset:
        raise UsageError("CLIP as it is was trained on no dataset.", "Name one: focus eval -c clip --dataset NAME")
    known = paths.resolve_dataset(dataset) if dataset else None

    from focuscli.data.folder import read_folder
    from focuscli.evaluation.closed_set import check_same_attributes, check_same_data, evaluate
    from focuscli.inference.zero_shot import calibrated
    from focuscli.storage.files import write_json

    schema = read_folder(known).schema if known else None
    recognizer = model.open(schema=schema, device=device, precision=precision, process_group=process_group)
    data = read_folder(known or paths.resolve_dataset(recognizer.config.data.dataset))
    check_same_attributes(recognizer, data.schema)
    if not wanted.other_data:
        check_same_data(recognizer, data)
    if not recognizer.thresholds and threshold != "oracle":
        with render.progress("choosing thresholds on val") as progress:
            recognizer = calibrated(recognizer, data, workers=workers, progress=progress)
    with render.progress("scoring images") as progress:
        report = evaluate(recognizer, data, wanted.split, threshold=threshold, workers=workers, progress=progress)
    place = model.folder
    written = paths.report_folder(place) / f"{report.dataset}-{wanted.split}-{threshold}-{place.name}.json"
    if process_group.is_main:
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


def _refuse_mixed(options: Mapping[str, object], belongs_to: str) -> None:
    wrong = [name for name, value in options.items() if value]
    if wrong:
        raise UsageError(f"{wrong[0]} goes with {belongs_to}.", "See: focus eval --help")


def _mark(text: str) -> tuple[str, float]:
    name, comparison, value = text.partition(">=")
    try:
        if comparison and name.strip() in FIGURES:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise UsageError(f'--require wants FIGURE>=PERCENT; got "{text}".', f"Figures: {', '.join(FIGURES)}.")
