"""`focus eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import find_model
from focuscli.cli.open_domain import Options, run_open_domain
from focuscli.cli.options import CheckpointsOpt, DatasetOpt, DeviceOpt, PrecisionOpt
from focuscli.cli.render import percent
from focuscli.errors import CheckFailed, UsageError, did_you_mean
from focuscli.evaluation.protocols import protocol_named
from focuscli.storage import paths
from focuscli.storage.files import write_json

if TYPE_CHECKING:
    from focuscli.engine.distributed import ProcessGroup
    from focuscli.evaluation.closed_set import EvaluationReport, ThresholdMode

THRESHOLDS = ("val", "global", "oracle")
METRICS = (*views.METRICS, "mAP", "AUC")


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
        typer.Option(help="Fail (exit 5) unless a metric reaches a value in percent: 'mA>=74'; repeatable."),
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
) -> None:
    """Metrics of a checkpoint: closed set (mA, Acc, Prec, Recall, F1, F1h), or --open-domain retrieval."""
    if open_domain:
        _refuse({"--dataset": dataset, "--require": require, "--threshold": threshold != "val"}, "closed-set metrics")
    else:
        _refuse({"--target": target, "--protocol": protocol, "--group": group}, "--open-domain")
    if threshold not in THRESHOLDS:
        raise UsageError(f'Unknown threshold source "{threshold}".', did_you_mean(threshold, THRESHOLDS))
    bounds = [_bound(text) for text in require or []]
    names: list[str | None] = [*checkpoint] if checkpoint else [None]
    options = Options(
        split=split,
        protocol=protocol_named(protocol or "corrected"),
        groups=tuple(group or ()),
        other_data=other_data,
        per_attribute=per_attribute,
        device=device,
        precision=precision,
        workers=workers,
    )
    with processes.together() as process_group:
        if open_domain:
            run_open_domain(names, target or [], options, process_group)
        else:
            _run_closed_set(names, dataset, cast("ThresholdMode", threshold), bounds, options, process_group)


def _run_closed_set(
    names: Sequence[str | None],
    dataset: str | None,
    threshold: ThresholdMode,
    bounds: Sequence[tuple[str, float]],
    options: Options,
    process_group: ProcessGroup,
) -> None:
    """Evaluate one checkpoint, write the report beside it and show it.

    Raises:
        CheckFailed: a metric does not reach its lower bound in percent, a pair of `bounds`.
    """
    model, *more = [find_model(name) for name in names]
    if more:
        raise UsageError("Closed-set metrics are of one checkpoint.", "Several are for a matrix: add --open-domain.")
    if model.weights and not dataset:
        raise UsageError("Zero-shot CLIP was trained on no dataset.", "Name one: focus eval -c clip --dataset NAME")
    known = paths.resolve_dataset(dataset) if dataset else None

    from focuscli.data.folder import read_folder
    from focuscli.evaluation.closed_set import check_same_attributes, check_same_data, evaluate, with_val_thresholds

    recognizer = model.open(
        schema=read_folder(known).schema if known else None,
        device=options.device,
        precision=options.precision,
        process_group=process_group,
    )
    data = read_folder(known or paths.resolve_dataset(recognizer.config.data.dataset))
    check_same_attributes(recognizer, data.schema)
    if not options.other_data:
        check_same_data(recognizer, data)
    workers = options.workers
    if not recognizer.thresholds and threshold != "oracle":
        with render.progress("choosing thresholds on val") as progress:
            recognizer = with_val_thresholds(recognizer, data, workers=workers, progress=progress)
    with render.progress("scoring images") as progress:
        report = evaluate(recognizer, data, options.split, threshold=threshold, workers=workers, progress=progress)
    name = f"{report.dataset}-{options.split}-{threshold}-{model.folder.name}.json"
    written = paths.run_folder(model.folder) / "eval" / name
    if process_group.is_main:
        write_json(written, report.to_json())

    missed = []
    for metric, bound in bounds:
        value = 100 * (report.metrics[metric] or 0)
        if not value >= bound:
            missed.append(f"{metric} is {value:.2f}, not at least {bound:g}")
    if not (missed and render.as_json()):
        show(report, per_attribute=options.per_attribute, written=written)
    if missed:
        raise CheckFailed("; ".join(missed) + f" ({report.threshold_source}).", data=report.to_json())


def show(report: EvaluationReport, *, per_attribute: bool, written: Path) -> None:
    """The metrics of a split as a table, or the whole report as one JSON object."""
    if render.as_json():
        render.result(report.to_json(), lines=[])
        return
    rows = [(f"{report.dataset} {report.split}", f"{report.images:,}", *(percent(report.metrics[n]) for n in METRICS))]
    if report.unseen_persons:
        unseen = report.unseen_persons
        rows.append(
            ("  persons unseen in training", f"{unseen['images']:,.0f}", *(percent(unseen[n]) for n in METRICS))
        )
    render.table(("percent", "images", *METRICS), rows, numbers=range(1, 10))
    print(f"thresholds  {report.threshold_source}")
    print(f"weights     {report.weights}, trained on {report.trained_on}")
    if report.identity:
        overlap = report.identity
        print(
            f"persons     {overlap['shared']:,} of {overlap['persons']:,} in this split are also in train or val, "
            f"with {overlap['images']:,} of {report.images:,} images"
        )
    print("F1 is the mean of per-image F1, F1h the harmonic mean of Prec and Recall")
    if per_attribute:
        print()
        rows = []
        for row in report.attributes:
            values = (row.mA, row.recall, row.specificity, row.precision, row.f1, row.AP, row.AUC)
            rows.append((row.name, row.region, f"{row.positives:,}", *map(percent, values), f"{row.threshold:.3f}"))
        header = ("attribute", "region", "positives", "mA", "recall", "spec.", "prec.", "F1", "AP", "AUC", "threshold")
        render.table(header, rows, numbers=range(2, 11))
    for line in report.notes:
        render.warn(line)
    render.note(f"wrote {written}")


def _refuse(options: Mapping[str, object], belongs_to: str) -> None:
    """Refuse options that belong to the other kind of evaluation."""
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} goes with {belongs_to}.", "See: focus eval --help")


def _bound(text: str) -> tuple[str, float]:
    """Metric and value of "METRIC>=PERCENT"."""
    name, comparison, value = text.partition(">=")
    try:
        if comparison and name.strip() in METRICS:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise UsageError(f'--require expects METRIC>=PERCENT; got "{text}".', f"Metrics: {', '.join(METRICS)}.")
