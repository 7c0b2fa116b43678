"""`focus eval`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focuscli.cli import processes, render, views
from focuscli.cli.models import ModelPlace, find_model
from focuscli.cli.open_domain import run_open_domain
from focuscli.cli.options import (
    CheckpointsOpt,
    DatasetOpt,
    DeviceOpt,
    PrecisionOpt,
    SplitOpt,
    WorkersOpt,
    choice,
    dataset_names,
)
from focuscli.cli.render import percent
from focuscli.errors import CheckFailed, UsageError
from focuscli.evaluation.protocols import PROTOCOLS
from focuscli.storage import paths
from focuscli.storage.files import write_json

if TYPE_CHECKING:
    from focuscli.evaluation.closed_set import EvaluationReport

THRESHOLDS = ("val", "global", "oracle")
METRICS = (*views.METRICS, "mAP", "AUC")


def eval_command(
    checkpoint: CheckpointsOpt = None,
    dataset: DatasetOpt = None,
    split: SplitOpt = "test",
    threshold: Annotated[
        str,
        choice(
            "--threshold",
            of=THRESHOLDS,
            help="val: per attribute, chosen on val; global: one value; oracle: chosen on this split.",
        ),
    ] = "val",
    open_domain: Annotated[
        bool, typer.Option("--open-domain", help="Retrieval with the texts of other datasets instead: Recall@K and AP.")
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="With --open-domain: dataset to test on; repeatable; default: all.",
            autocompletion=dataset_names,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        choice(
            "--protocol",
            of=tuple(PROTOCOLS),
            help="With --open-domain; poar is as POAR's program computes.",
            shown="corrected",
        ),
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
        typer.Option(help="Exit 5 unless a metric reaches a value: 'mA>=74%', 'mA>=74' or 'mA>=0.74'; repeatable."),
    ] = None,
    device: DeviceOpt = None,
    precision: PrecisionOpt = None,
    workers: WorkersOpt = 2,
) -> None:
    """Metrics of a checkpoint: closed set (mA, Acc, Prec, Recall, F1, F1h), or --open-domain retrieval."""
    closed = {"--dataset": dataset, "--require": require, "--threshold": threshold != "val"}
    retrieval = {"--target": target, "--protocol": protocol, "--group": group}
    for name, value in (closed if open_domain else retrieval).items():
        if value:
            belongs = "closed-set metrics" if open_domain else "--open-domain"
            raise UsageError(f"{name} goes with {belongs}.", "See: focus eval --help")
    bounds = [_bound(text) for text in require or []]
    names: list[str | None] = [*checkpoint] if checkpoint else [None]
    rules = PROTOCOLS[protocol or "corrected"]
    with processes.together() as process_group:
        open_model = partial(ModelPlace.open, device=device, precision=precision, process_group=process_group)
        if open_domain:
            chosen = (names, target or [], split, rules, group or [])
            run_open_domain(*chosen, open_model, other_data, per_attribute=per_attribute, workers=workers)
            return
        model, *more = [find_model(name) for name in names]
        if more:
            raise UsageError("Closed-set metrics need one checkpoint.", "Several are for a matrix: add --open-domain.")
        if model.weights and not dataset:
            raise UsageError("Zero-shot CLIP was trained on no dataset.", "Name one: focus eval -c clip --dataset NAME")

        from focuscli.data.folder import read_folder
        from focuscli.evaluation.closed_set import check_same_data, choose_thresholds, evaluate

        known = read_folder(paths.resolve_dataset(dataset)) if dataset else None
        schema = known.schema if known else None
        recognizer = open_model(model, schema=schema)
        data = known or read_folder(paths.resolve_dataset(recognizer.config.data.dataset))
        if not other_data:
            check_same_data(recognizer, data)
        if not recognizer.thresholds and threshold != "oracle":
            with render.progress("choosing thresholds on val") as progress:
                choose_thresholds(recognizer, data, workers=workers, progress=progress)
        with render.progress("scoring images") as progress:
            report = evaluate(recognizer, data, split, threshold=threshold, workers=workers, progress=progress)
        file = f"{views.file_name(report.dataset)}-{split}-{threshold}-{model.folder.name}.json"
        written = paths.run_folder(model.folder) / "eval" / file
        if process_group.is_main:
            write_json(written, report.to_json())
    missed = [
        f"{name} is {percent(reached)}%, not at least {bound:g}%"
        for name, bound in bounds
        if 100 * (reached := report.metrics[name] or 0) < bound
    ]
    if not (missed and render.as_json()):
        _show(report, per_attribute=per_attribute, written=written)
    if missed:
        raise CheckFailed("; ".join(missed) + f" ({report.threshold_source}).", data=report.to_json())


def _show(report: EvaluationReport, *, per_attribute: bool, written: Path) -> None:
    """The metrics of a split as a table, or the whole report as one JSON object."""
    if render.as_json():
        render.result(report.to_json())
        return
    shown = {f"{report.dataset} {report.split}": {**report.metrics, "images": report.images}}
    if report.unseen_persons:
        shown["  persons unseen in training"] = report.unseen_persons
    rows = [(name, f"{row['images']:,.0f}", *(percent(row[n]) for n in METRICS)) for name, row in shown.items()]
    render.table(("percent", "images", *METRICS), rows, numbers=range(1, 10))
    render.line(f"thresholds  {report.threshold_source}")
    render.line(f"weights     {report.weights}, trained on {report.trained_on}, {report.epochs}")
    if overlap := report.identity:
        render.line(
            f"persons     {overlap['shared']:,} of {overlap['persons']:,} in this split are also in train or val, "
            f"with {overlap['images']:,} of {report.images:,} images"
        )
    render.line("F1 is the mean of per-image F1, F1h the harmonic mean of Prec and Recall")
    if per_attribute:
        render.line()
        rows = []
        for row in report.attributes:
            values = (row.mA, row.recall, row.specificity, row.precision, row.f1, row.AP, row.AUC)
            rows.append((row.name, row.region, f"{row.positives:,}", *map(percent, values), f"{row.threshold:.3f}"))
        header = ("attribute", "region", "positives", "mA", "recall", "spec.", "prec.", "F1", "AP", "AUC", "threshold")
        render.table(header, rows, numbers=range(2, 11))
    for line in report.notes:
        render.warn(line)
    render.note(f"wrote {written}")


def _bound(text: str) -> tuple[str, float]:
    """Metric and percentage of "mA>=74%", "ma>=74" or "mA=0.74": a number above 1 is a percentage, one below a fraction."""
    found = re.fullmatch(rf"({'|'.join(METRICS)})\s*>?=\s*(\d+\.?\d*|\.\d+)\s*(%?)", text.strip(), re.IGNORECASE)
    if found is None:
        problem = f'--require expects METRIC>=VALUE, such as mA>=74% or mA>=0.74; got "{text}".'
        raise UsageError(problem, f"Metrics: {', '.join(METRICS)}.")
    metric = next(name for name in METRICS if name.lower() == found[1].lower())
    value = float(found[2])
    if value == 1 and not found[3]:
        raise UsageError(f'--require "{text}" can mean 1% or 100%.', f"Write {metric}>=1% or {metric}>=100%.")
    return metric, value if found[3] or value > 1 else 100 * value
