"""Results: published value, ours and the difference, cell by cell, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from focuscli.storage.files import write_json, write_text
from focuscli.tools.reproduce.plan import RETRIEVAL_PROTOCOLS, Plan
from focuscli.tools.reproduce.tables import Table, title_of
from focuscli.tools.seeds import mean_and_spread

Metrics = dict[str, float | None]
SPLITS = {"train": "trained on train", "trainval": "trained on train + val", None: "not trained"}
SCORINGS = {
    "val": "thresholds from val",
    "oracle": "thresholds chosen on test (oracle: optimistic)",
    "corrected": "retrieval protocol corrected",
    "poar": "retrieval protocol poar",
}
COLUMNS = (
    "table,paper_method,method,trained_on,target,metric,f1_definition,published,published_is,variant,ours_metric,ours,spread,"
    "seeds,difference"
)
"""Of results.csv: the table's name, then a cell, with the number of seeds for their values."""


@dataclass(frozen=True)
class Measured:
    """A test that was done, or could not be; or a baseline on a target, without a folder.

    Attributes:
        metrics: fractions by name. folder: the run's. how: the source of thresholds or words.
        failure: why there are no metrics.
    """

    run: str
    target: str
    scoring: str
    metrics: Metrics
    folder: str
    how: str
    weights: str = ""
    failure: str | None = None


def compare(plan: Plan, measured: Sequence[Measured]) -> dict[str, Any]:
    """What was measured beside what is published, as results.json holds it; runs to come leave their cells empty.

    A cell is a metric of a row under one protocol, in percent; of a gain ("gain mA": what a row adds to the one before) in
    points. `printed` is false if the published value was computed from printed gains; `variant` says what was done, "" if
    no run answers the row; `values` are ours by seed.
    """
    table = plan.table
    baselines: dict[str, dict[str, dict[str, Metrics]]] = {}
    for item in measured:
        if not item.folder:
            baselines.setdefault(item.target, {}).setdefault(item.scoring, {})[item.run] = _percent(item.metrics)
    tests = [item for item in measured if item.folder and not item.failure]
    tested = {(item.run, item.target, item.scoring) for item in measured}
    done = sum(all((run.name, *test) in tested for test in run.tests) for run in plan.runs)
    return {
        "table": table.name,
        "title": table.title,
        "source": table.source,
        "unit": "percent; gains and differences in points",
        "complete": done == len(plan.runs),
        "runs_done": done,
        "runs_planned": len(plan.runs),
        "deviations": [*plan.deviations],
        "failures": [f"{x.run} on {x.target}, {SCORINGS[x.scoring]}: {x.failure}" for x in measured if x.failure],
        "notes": [*table.notes],
        "cells": _cells(plan, measured),
        "baselines": baselines,
        "tests": [{**asdict(item), "metrics": _percent(item.metrics)} for item in tests],
    }


def _cells(plan: Plan, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    table = plan.table
    by_test = {(item.run, item.target, item.scoring): item for item in measured}
    cells: list[dict[str, Any]] = []
    current: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.rows:
        previous, current = current, {}
        runs = [run for run in plan.runs if row in run.rows]
        variants = dict.fromkeys((run.train_split, scoring) for run in runs for _, scoring in run.tests)
        for split, scoring in variants or {(None, ""): None}:
            variant = f"{SPLITS[split]}, {SCORINGS[scoring]}" if scoring else ""
            tested = [run for run in runs if run.train_split == split]
            for target in table.targets_of(row):
                found = {str("-" if x.seed is None else x.seed): by_test.get((x.name, target, scoring)) for x in tested}
                for metric in table.metrics:
                    ours = "F1h" if metric == "F1" and row.f1 == "of means" else metric
                    all_values = {seed: item.metrics.get(ours) for seed, item in found.items() if item is not None}
                    values = {seed: 100 * value for seed, value in all_values.items() if value is not None}
                    published = table.published(row, target, metric)
                    cell = {
                        "paper": row.label,
                        "method": row.method,
                        "trained_on": row.dataset,
                        "target": target,
                        "metric": metric,
                        "f1": row.f1 if metric == "F1" else "-",
                        "published": published,
                        "printed": published is not None and not row.reconstructed,
                        "variant": variant,
                        "ours_metric": ours,
                    }
                    cells.append({**cell, **_summary(values, published)})
                    current[variant, metric] = values
                    before, published = previous.get((variant, metric), {}), row.gain.get(metric)
                    gains = {seed: value - before[seed] for seed, value in values.items() if seed in before}
                    if table.ladder and (gains or published is not None):
                        cell |= {"metric": f"gain {metric}", "published": published, "printed": published is not None}
                        cells.append({**cell, **_summary(gains, published)})
    return cells


def _summary(values: Mapping[str, float], published: float | None) -> dict[str, Any]:
    mean, spread = mean_and_spread([*values.values()])
    return {
        "mean": None if mean is None else round(mean, 4),
        "spread": None if spread is None else round(spread, 4),
        "values": {seed: round(value, 4) for seed, value in values.items()},
        "difference": None if mean is None or published is None else round(mean - published, 4),
    }


def write_results(plan: Plan, results: Mapping[str, Any], out: Path) -> list[Path]:
    """results.md, results.csv and results.json, each replaced as a whole."""
    files = [out / f"results.{suffix}" for suffix in ("md", "csv", "json")]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS.split(","))
    for cell in results["cells"]:
        origin = "" if cell["published"] is None else "printed" if cell["printed"] else "reconstructed"
        values = {**cell, "printed": origin, "values": str(len(cell["values"]))}.values()
        shown = (f"{value:.2f}" if isinstance(value, float) else value for value in values)
        writer.writerow([results["table"], *shown])
    write_text(files[0], as_markdown(plan, results))
    write_text(files[1], stream.getvalue())
    write_json(files[2], results)
    return files


def as_markdown(plan: Plan, results: Mapping[str, Any]) -> str:
    """The table with published values, ours and differences, what deviates, and every note that a reader needs."""
    rows = _table_rows(plan.table, results)
    columns = list(dict.fromkeys(_column(plan.table, cell["target"], cell["metric"]) for cell in results["cells"]))
    columns.sort(key=lambda column: column.startswith("gain "))
    f1: dict[str, dict[str, None]] = {}
    for cell in results["cells"]:
        if cell["metric"] == "F1" and cell["published"] is not None:
            f1.setdefault(cell["f1"], {})[_label(plan.table, cell)] = None
    lines = [[*names, *(row.get(name, "") for name in columns)] for names, row in rows.items()]
    loader = PackageLoader("focuscli.tools.reproduce", "published")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return environment.get_template("results.md.jinja").render(**results, columns=columns, lines=lines, f1=f1)


def _table_rows(table: Table, results: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """(label, what the values are) -> values by column: per row the published ones, then per variant ours and the
    difference; then the baselines."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in results["cells"]:
        column, label, variant = _column(table, cell["target"], cell["metric"]), _label(table, cell), cell["variant"]
        if cell["published"] is not None or not variant:
            estimated = cell["published"] is not None and not cell["printed"]
            rows.setdefault((label, "published"), {})[column] = "~" * estimated + _number(cell["published"])
        if variant:
            spread = "" if cell["spread"] is None else f" ± {cell['spread']:.2f}"
            rows.setdefault((label, f"ours, {variant}"), {})[column] = _number(cell["mean"]) + spread
        if cell["difference"] is not None:
            rows.setdefault((label, f"difference, {variant}"), {})[column] = f"{cell['difference']:+.2f}"
    for scoring in RETRIEVAL_PROTOCOLS:
        for target, scorings in results["baselines"].items():
            for baseline, metrics in scorings.get(scoring, {}).items():
                values = {_column(table, target, name): _number(value) for name, value in metrics.items()}
                rows.setdefault((baseline, SCORINGS[scoring]), {}).update(values)
    return rows


def _column(table: Table, target: str, metric: str) -> str:
    return f"{title_of(target)} {metric}" if table.kind == "open" else metric


def _label(table: Table, cell: Mapping[str, Any]) -> str:
    paper, method = cell["paper"], cell["method"]
    if table.kind == "open":
        return f"{paper} from {title_of(cell['trained_on'])}" if cell["trained_on"] else f"{paper}, zero-shot"
    if len({row.dataset for row in table.rows}) == 1:
        return str(paper)
    extra = "" if method in (None, paper.lower()) else f" ({method})"
    return f"{paper}{extra} on {title_of(cell['target'])}"


def _percent(metrics: Metrics) -> Metrics:
    return {name: None if value is None else round(100 * value, 4) for name, value in metrics.items()}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
