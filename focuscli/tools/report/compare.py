"""Several runs side by side: the parts of the method that each has, and its figures (laid out like the paper's Table III)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from focuscli.tools.report.collect import RunReport

PARTS = ("RLP", "MGMT", "AVFE", "RACL", "L_sim")
FIGURES = ("mA", "Acc", "Prec", "Recall", "F1", "F1h")
PERIPHERAL = {
    "train": ("seed", "device", "threads", "gradient_checkpointing", "compile"),
    "data": ("workers", "cache", "cache_limit_mb"),
}
"""Settings in which runs of one kind may differ."""


@dataclass(frozen=True)
class Row:
    """One run; `parts` says what is on, `gain` is the difference of mA to the first run."""

    name: str
    number: int
    method: str
    parts: dict[str, bool]
    figures: dict[str, float | None]
    gain: float | None
    weights: str
    trained_on: str
    epochs: int
    seed: int
    data: str
    threshold_source: str


@dataclass(frozen=True)
class Kind:
    """Runs that differ in nothing but their seed: mean and standard deviation (of the sample) of each figure."""

    names: list[str]
    parts: dict[str, bool]
    seeds: list[int]
    mean: dict[str, float | None]
    deviation: dict[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Rows in the order given; `kinds` where any two runs differ only in their seed; `cautions` say what else differs."""

    rows: list[Row]
    kinds: list[Kind]
    cautions: list[str] = field(default_factory=list)


def compare(reports: Sequence[RunReport]) -> Comparison:
    """Lay runs side by side, all with thresholds per attribute from their own val."""
    first = reports[0].main.metrics["mA"]
    rows = [_row(report, number, first) for number, report in enumerate(reports, start=1)]
    kinds: dict[str, list[int]] = {}
    for position, report in enumerate(reports):
        kinds.setdefault(repr(_settings(report)), []).append(position)
    repeated = [_kind([rows[p] for p in places]) for places in kinds.values()]
    return Comparison(rows, repeated if any(len(kind.seeds) > 1 for kind in repeated) else [], _cautions(reports, rows))


def parts_of(config: dict[str, Any]) -> dict[str, bool]:
    """Which parts of the method a configuration has; a loss without its subject (no Mix Tokens, no attention) is off."""
    model, loss = config["model"], config["loss"]
    return {
        "RLP": bool(model["rlp"]),
        "MGMT": bool(model["mgmt"]),
        "AVFE": bool(model["avfe"]),
        "RACL": bool(model["mgmt"] and model["avfe"] and loss["racl"]),
        "L_sim": bool(model["mgmt"] and loss["lsim"]),
    }


def _row(report: RunReport, number: int, first: float | None) -> Row:
    config, metrics = report.state["config"], report.main.metrics
    mean_accuracy = metrics["mA"]
    return Row(
        name=report.name,
        number=number,
        method=config["model"].get("method", "focus"),
        parts=parts_of(config),
        figures={name: metrics[name] for name in FIGURES},
        gain=None if number == 1 or mean_accuracy is None or first is None else mean_accuracy - first,
        weights=report.main.weights,
        trained_on=report.main.trained_on,
        epochs=len(report.history),
        seed=config["train"]["seed"],
        data=f"{report.main.dataset} {report.main.split}, {report.main.images:,} images",
        threshold_source=report.main.threshold_source,
    )


def _kind(rows: list[Row]) -> Kind:
    mean: dict[str, float | None] = {}
    deviation: dict[str, float | None] = {}
    for name in FIGURES:
        values = [value for row in rows if (value := row.figures[name]) is not None]
        mean[name] = statistics.fmean(values) if values else None
        deviation[name] = statistics.stdev(values) if len(values) > 1 else None
    return Kind([row.name for row in rows], rows[0].parts, [row.seed for row in rows], mean, deviation)


def _settings(report: RunReport) -> dict[str, dict[str, Any]]:
    return {
        section: {key: value for key, value in values.items() if key not in PERIPHERAL.get(section, ())}
        for section, values in report.state["config"].items()
    }


def _cautions(reports: Sequence[RunReport], rows: Sequence[Row]) -> list[str]:
    """What makes the rows no like-for-like comparison, in words."""
    found = []
    tested = {(report.data.fingerprint, report.main.split) for report in reports}
    trained = {report.state["data"]["fingerprint"] for report in reports}
    if len(tested) > 1:
        found.append("The runs are evaluated on different images or labels: their figures do not compare.")
    if len(trained) > 1:
        found.append("The runs were trained on different data.")
    for what, values in (
        ("started from different weights", {row.weights for row in rows}),
        ("were trained for different numbers of epochs", {row.epochs for row in rows}),
        ("have thresholds from different sources", {row.threshold_source for row in rows}),
    ):
        if len(values) > 1:
            found.append(f"The runs {what}: {', '.join(map(str, sorted(values, key=str)))}.")
    return found
