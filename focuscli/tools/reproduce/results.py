"""Results: published value, ours and the difference, cell by cell, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from focuscli.storage.files import write_json, write_text
from focuscli.tools.reproduce.plan import RETRIEVAL_PROTOCOLS, Plan
from focuscli.tools.reproduce.tables import Row, Table, title_of
from focuscli.tools.seeds import mean_and_spread

Metrics = dict[str, float | None]
SPLITS = {"train": "trained on train", "trainval": "trained on train + val", None: "not trained"}
SCORINGS = {
    "val": "thresholds from val",
    "oracle": "thresholds chosen on test (oracle: optimistic)",
    "corrected": "retrieval protocol corrected",
    "poar": "retrieval protocol poar",
}
F1_DEFINITIONS = {
    "per image": "the mean of per-image F1, and ours is the same",
    "of means": "the harmonic mean of Prec and Recall (ours: F1h)",
    "neither": "neither definition",
    "unknown": "an unknown definition, because Prec and Recall are not printed; ours is per image",
}


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


@dataclass(frozen=True)
class Cell:
    """One metric of one row against what was measured under one protocol; percent, points for gains.

    Attributes:
        metric: "mA", ...; "gain mA" for what a row adds to the one before (Table III).
        f1: see `Row`. printed: False if the published value was computed from printed gains.
        variant: what was done, in words; "" if no run answers the row.
        ours_metric: our metric that is comparable; F1h, the harmonic mean, if the row's F1 is "of means".
        values: ours by seed. mean, spread: see `mean_and_spread`. difference: mean minus published.
    """

    paper: str
    method: str | None
    trained_on: str | None
    target: str
    metric: str
    f1: str
    published: float | None
    printed: bool
    variant: str
    ours_metric: str
    values: Mapping[str, float]
    mean: float | None
    spread: float | None
    difference: float | None


@dataclass(frozen=True)
class Results:
    """What is written after every run: cells in the table's order, and every test with all its metrics.

    Attributes:
        baselines: percent by target, retrieval protocol and baseline.
        done: names of the runs whose tests are all done.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    baselines: Mapping[str, Mapping[str, Mapping[str, Metrics]]]
    tests: tuple[Measured, ...]
    failures: tuple[str, ...]
    done: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        table = self.plan.table
        return {
            "table": table.name,
            "title": table.title,
            "source": table.source,
            "unit": "percent; gains and differences in points",
            "complete": len(self.done) == len(self.plan.runs),
            "runs_done": len(self.done),
            "runs_planned": len(self.plan.runs),
            "deviations": [*self.plan.deviations],
            "failures": [*self.failures],
            "notes": [*table.notes],
            "cells": [asdict(cell) for cell in self.cells],
            "baselines": self.baselines,
            "tests": [{**asdict(test), "metrics": _percent(test.metrics)} for test in self.tests],
        }


def compare(plan: Plan, measured: Sequence[Measured]) -> Results:
    """Lay what was measured beside what is published; runs that are still to come leave their cells empty."""
    by_test = {(item.run, item.target, item.scoring): item for item in measured}
    cells: list[Cell] = []
    previous: dict[tuple[str, str], Mapping[str, float]] = {}
    for row in plan.table.rows:
        current: dict[tuple[str, str], Mapping[str, float]] = {}
        runs = [run for run in plan.runs if row.key in run.rows]
        variants = dict.fromkeys((run.train_split, scoring) for run in runs for _, scoring in run.evaluations)
        for split, scoring in variants or {(None, ""): None}:
            variant = f"{SPLITS[split]}, {SCORINGS[scoring]}" if scoring else ""
            tested = [run for run in runs if run.train_split == split]
            for target in plan.table.targets_of(row):
                found = {run.seed: by_test.get((run.name, target, scoring)) for run in tested}
                for metric in plan.table.metrics:
                    values = _values(found, row.our_metric(metric))
                    cells.append(_cell(plan.table, row, target, metric, variant, values))
                    current[variant, metric] = values
                    gains = {seed: value - before for seed, value in values.items()
                             if (before := previous.get((variant, metric), {}).get(seed)) is not None}  # fmt: skip
                    if plan.table.ladder and (gains or metric in row.gain):
                        cells.append(_cell(plan.table, row, target, metric, variant, gains, gain=True))
        previous = current
    baselines: dict[str, dict[str, dict[str, Metrics]]] = {}
    for item in measured:
        if not item.folder:
            baselines.setdefault(item.target, {}).setdefault(item.scoring, {})[item.run] = _percent(item.metrics)
    return Results(
        plan=plan,
        cells=tuple(cells),
        baselines=baselines,
        tests=tuple(item for item in measured if item.folder and not item.failure),
        failures=tuple(
            f"{item.run} on {item.target}, {SCORINGS[item.scoring]}: {item.failure}"
            for item in measured
            if item.failure
        ),
        done=tuple(run.name for run in plan.runs if all((run.name, *test) in by_test for test in run.evaluations)),
    )


def write_results(results: Results, out: Path) -> list[Path]:
    """results.md, results.csv and results.json, each replaced as a whole."""
    files = [out / f"results.{suffix}" for suffix in ("md", "csv", "json")]
    write_text(files[0], as_markdown(results))
    write_text(files[1], as_csv(results))
    write_json(files[2], results.to_json())
    return files


def as_csv(results: Results) -> str:
    """One line per cell, in the order of the table; percent."""
    stream = io.StringIO()
    columns = ("table", "paper_method", "method", "trained_on", "target", "metric", "f1_definition", "published",
               "published_is", "variant", "ours_metric", "ours", "spread", "seeds", "difference")  # fmt: skip
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for cell in results.cells:
        origin = "" if cell.published is None else "printed" if cell.printed else "reconstructed"
        writer.writerow(
            [
                *(results.plan.table.name, cell.paper, cell.method or "", cell.trained_on or "", cell.target),
                *(cell.metric, cell.f1, _number(cell.published, ""), origin, cell.variant, cell.ours_metric),
                *(_number(cell.mean, ""), _number(cell.spread, ""), len(cell.values), _number(cell.difference, "")),
            ]
        )
    return stream.getvalue()


def as_markdown(results: Results) -> str:
    """The table with published values, ours and differences, what deviates, and every note that a reader needs."""
    table, plan = results.plan.table, results.plan
    complete = len(results.done) == len(plan.runs)
    columns = sorted(
        dict.fromkeys(_column(table, cell.target, cell.metric) for cell in results.cells),
        key=lambda column: column.startswith("gain "),
    )
    lines = [
        f"# {table.title}",
        "",
        *([f"Published: {table.source}."] if table.source else []),
        "Percent; ± is the sample standard deviation over seeds.",
        f"{len(results.done)} of {len(plan.runs)} planned runs are done."
        + ("" if complete else " **Not complete: run the same command again.**"),
        "",
        "## Deviations",
        "",
        *([f"- {line}" for line in plan.deviations] or ["- none known"]),
        *[f"- not measured: {line}" for line in results.failures],
        "",
        "## Results",
        "",
        "| " + " | ".join(["method", "values", *columns]) + " |",
        "| --- | --- |" + " ---: |" * len(columns),
    ]
    for (label, what), values in _table_rows(results).items():
        lines.append("| " + " | ".join([label, what, *(values.get(name, "") for name in columns)]) + " |")
    notes = [*table.notes, *_f1_notes(results)]
    if results.baselines:
        notes.append("Chance is a random order. The majority-class baseline answers every image with the most frequent words "
                     "of the target's training images, without looking at it.")  # fmt: skip
    return "\n".join([*lines, "", "## Notes", "", *(f"- {note}" for note in notes)]) + "\n"


def _table_rows(results: Results) -> dict[tuple[str, str], dict[str, str]]:
    """(label, what the values are) -> values by column: per row the published ones, then per variant ours and the
    difference; then the baselines."""
    table = results.plan.table
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in results.cells:
        column, label = _column(table, cell.target, cell.metric), _label(table, cell)
        if cell.published is not None or not cell.variant:
            published = ("" if cell.printed or cell.published is None else "~") + _number(cell.published)
            rows.setdefault((label, "published"), {})[column] = published
        if cell.variant:
            spread = "" if cell.spread is None else f" ± {cell.spread:.2f}"
            rows.setdefault((label, f"ours, {cell.variant}"), {})[column] = _number(cell.mean) + spread
            if cell.difference is not None:
                rows.setdefault((label, f"difference, {cell.variant}"), {})[column] = f"{cell.difference:+.2f}"
    for scoring in RETRIEVAL_PROTOCOLS:
        for target, scorings in results.baselines.items():
            for baseline, metrics in scorings.get(scoring, {}).items():
                values = {_column(table, target, name): _number(value) for name, value in metrics.items()}
                rows.setdefault((baseline, SCORINGS[scoring]), {}).update(values)
    return rows


def _values(found: Mapping[int | None, Measured | None], metric: str) -> dict[str, float]:
    """Percent by seed, "-" for what has none."""
    values = {seed: None if item is None else item.metrics.get(metric) for seed, item in found.items()}
    return {"-" if seed is None else str(seed): 100 * value for seed, value in values.items() if value is not None}


def _cell(
    table: Table, row: Row, target: str, metric: str, variant: str, values: Mapping[str, float], *, gain: bool = False
) -> Cell:
    published = row.gain.get(metric) if gain else table.published(row, target, metric)
    mean, spread = mean_and_spread([*values.values()])
    return Cell(
        paper=row.label,
        method=row.method,
        trained_on=row.dataset,
        target=target,
        metric=f"gain {metric}" if gain else metric,
        f1=row.f1 if metric == "F1" else "-",
        published=published,
        printed=published is not None and (gain or not row.reconstructed),
        variant=variant,
        ours_metric=row.our_metric(metric),
        values={seed: round(value, 4) for seed, value in values.items()},
        mean=None if mean is None else round(mean, 4),
        spread=None if spread is None else round(spread, 4),
        difference=None if mean is None or published is None else round(mean - published, 4),
    )


def _column(table: Table, target: str, metric: str) -> str:
    return f"{title_of(target)} {metric}" if table.kind == "open" else metric


def _label(table: Table, cell: Cell) -> str:
    if table.kind == "open":
        return f"{cell.paper} from {title_of(cell.trained_on)}" if cell.trained_on else f"{cell.paper}, zero-shot"
    if len({row.dataset for row in table.rows}) == 1:
        return cell.paper
    method = "" if cell.method is None or cell.method == cell.paper.lower() else f" ({cell.method})"
    return f"{cell.paper}{method} on {title_of(cell.target)}"


def _f1_notes(results: Results) -> list[str]:
    """Which definition of F1 each published row fits."""
    rows: dict[str, dict[str, None]] = {}
    for cell in results.cells:
        if cell.metric == "F1" and cell.published is not None:
            rows.setdefault(cell.f1, {})[_label(results.plan.table, cell)] = None
    return [f"Printed F1 fits {F1_DEFINITIONS[name]}: {', '.join(labels)}." for name, labels in rows.items()]


def _percent(metrics: Metrics) -> Metrics:
    return {name: None if value is None else round(100 * value, 4) for name, value in metrics.items()}


def _number(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:.2f}"
