"""Published value, ours and the difference, cell by cell; a pure function of the plan and what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from focuscli.tools.reproduce.plan import OPEN_SCORINGS, Evaluation, Plan, PlannedRun
from focuscli.tools.reproduce.published import Cell, Row, Table

Figures = dict[str, float | None]
SPLITS = {"train": "trained on train", "trainval": "trained on train + val", None: "not trained"}
SCORINGS = {
    "val": "thresholds from val",
    "oracle": "thresholds chosen on test (oracle: optimistic)",
    "corrected": "retrieval protocol corrected",
    "poar": "retrieval protocol poar",
}


@dataclass(frozen=True)
class Measured:
    """A test that was done, or could not be.

    Attributes:
        figures: fractions by name. beside: chance and image-blind figures, of an open-domain test.
        folder: the run's. how: in words, whence thresholds or words come. failure: why there are no figures.
    """

    run: str
    target: str
    scoring: str
    figures: Figures
    beside: Figures
    folder: str
    how: str
    weights: str = ""
    failure: str | None = None


@dataclass(frozen=True)
class Compared:
    """One figure of one published row against what was measured under one protocol; percent, points for gains.

    Attributes:
        figure: "mA", ...; "gain mA" for what a row adds to the one before (Table III).
        printed: False where the published value was computed from printed gains. f1: see `published.Row`.
        variant: what was done, in words; "" where no run answers the row.
        measure: the figure of ours that stands beside; F1h, the harmonic mean, where the row's F1 is "of means".
        values: ours by seed. mean, spread: over seeds; spread is the sample standard deviation, None of one seed.
        difference: mean minus published.
    """

    paper: str
    method: str | None
    trained_on: str | None
    target: str
    figure: str
    f1: str
    published: float | None
    printed: bool
    variant: str
    measure: str
    values: Mapping[str, float]
    mean: float | None
    spread: float | None
    difference: float | None


@dataclass(frozen=True)
class Results:
    """Everything that is written after every run.

    Attributes:
        cells: in the table's order. baselines: chance and blind figures in percent by target and retrieval protocol.
        reduced: in what the runs are less than the paper's. failures: tests that could not be done, with the reason.
        tests: what was measured, with every figure. done, planned: numbers of runs.
    """

    table: Table
    cells: tuple[Compared, ...]
    baselines: Mapping[str, Mapping[str, Figures]]
    reduced: tuple[str, ...]
    failures: tuple[str, ...]
    tests: tuple[Measured, ...]
    done: int
    planned: int

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.table.name,
            "title": self.table.title,
            "source": self.table.source,
            "unit": "percent; gains and differences in points",
            "complete": self.done == self.planned,
            "runs_done": self.done,
            "runs_planned": self.planned,
            "reduced": [*self.reduced],
            "failures": [*self.failures],
            "notes": [*self.table.notes],
            "cells": [asdict(cell) for cell in self.cells],
            "baselines": self.baselines,
            "tests": [
                {**asdict(item), "figures": _percent(item.figures), "beside": _percent(item.beside)}
                for item in self.tests
            ],
        }


def compare(plan: Plan, measured: Sequence[Measured], reduced: Sequence[str]) -> Results:
    """Lay what was measured beside what is published; runs that are still to come leave their cells empty."""
    by_test = {(item.run, item.target, item.scoring): item for item in measured}
    done = [
        run for run in plan.runs if all((run.name, test.target, test.scoring) in by_test for test in run.evaluations)
    ]
    cells: list[Compared] = []
    previous: dict[tuple[str, str], Mapping[str, float]] = {}
    for row in plan.table.rows:
        tests = _tests(plan, row)
        current: dict[tuple[str, str], Mapping[str, float]] = {}
        for variant in dict.fromkeys(name for name, _, _ in tests) or ("",):
            for cell in row.cells:
                values = {
                    seed: 100 * value
                    for name, run, test in tests
                    if name == variant and test.target == cell.target
                    for seed, value in _value(by_test.get((run.name, test.target, test.scoring)), run, row, cell)
                }
                cells.append(_compared(row, cell, variant, values))
                current[variant, cell.figure] = values
                if plan.table.name == "table3" and previous:
                    cells += _gain(row, cell, variant, values, previous.get((variant, cell.figure), {}))
        previous = current
    return Results(
        plan.table,
        tuple(cells),
        _baselines(measured),
        tuple(reduced),
        tuple(
            f"{item.run} on {item.target}, {SCORINGS[item.scoring]}: {item.failure}"
            for item in measured
            if item.failure
        ),
        tuple(item for item in measured if item.folder and not item.failure),
        len(done),
        len(plan.runs),
    )


def _tests(plan: Plan, row: Row) -> list[tuple[str, PlannedRun, Evaluation]]:
    """(variant, run, test) of everything in the plan that answers a row."""
    return [
        (f"{SPLITS[run.train_split]}, {SCORINGS[test.scoring]}", run, test)
        for run in plan.runs
        if run.method == row.method and run.without == row.without
        for test in run.evaluations
        if row.key in test.rows
    ]


def measure_of(row: Row, figure: str) -> str:
    """Our figure that is comparable to a published one."""
    return "F1h" if figure == "F1" and row.f1 == "of means" else figure


def _value(item: Measured | None, run: PlannedRun, row: Row, cell: Cell) -> list[tuple[str, float]]:
    value = item.figures.get(measure_of(row, cell.figure)) if item is not None else None
    seed = "-" if run.seed is None else str(run.seed)
    return [] if value is None else [(seed, value)]


def _compared(row: Row, cell: Cell, variant: str, values: Mapping[str, float]) -> Compared:
    return _cell(row, cell, cell.figure, cell.value, cell.printed, variant, values)


def _gain(
    row: Row, cell: Cell, variant: str, values: Mapping[str, float], before: Mapping[str, float]
) -> list[Compared]:
    """What a row adds to the one before, seed by seed; nothing where neither the paper nor we have it."""
    gains = {seed: value - before[seed] for seed, value in values.items() if seed in before}
    if cell.gain is None and not gains:
        return []
    return [_cell(row, cell, f"gain {cell.figure}", cell.gain, cell.gain is not None, variant, gains)]


def _cell(
    row: Row,
    cell: Cell,
    figure: str,
    published: float | None,
    printed: bool,
    variant: str,
    values: Mapping[str, float],
) -> Compared:
    mean = statistics.fmean(values.values()) if values else None
    return Compared(
        paper=row.paper,
        method=row.method,
        trained_on=row.dataset,
        target=cell.target,
        figure=figure,
        f1=row.f1 if cell.figure == "F1" else "-",
        published=published,
        printed=printed,
        variant=variant,
        measure=measure_of(row, cell.figure),
        values={seed: round(value, 4) for seed, value in values.items()},
        mean=None if mean is None else round(mean, 4),
        spread=round(statistics.stdev(values.values()), 4) if len(values) > 1 else None,
        difference=None if mean is None or published is None else round(mean - published, 4),
    )


def _baselines(measured: Sequence[Measured]) -> dict[str, dict[str, Figures]]:
    found: dict[str, dict[str, Figures]] = {}
    for item in measured:
        if item.scoring in OPEN_SCORINGS and item.beside:
            found.setdefault(item.target, {})[item.scoring] = _percent(item.beside)
    return found


def _percent(figures: Figures) -> Figures:
    return {name: None if value is None else round(100 * value, 4) for name, value in figures.items()}
