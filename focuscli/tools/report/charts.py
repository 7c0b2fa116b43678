"""The charts of a report: which lines, which axes, which words stand for the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from focuscli.tools.report.axes import Axis, linear_axis, log_axis
from focuscli.tools.report.curves import AttributeCurve, CommonCurve
from focuscli.tools.report.similarity import BeforeAndAfter, Similarities
from focuscli.tools.report.svg import (
    Series,
    block_matrix,
    line_chart,
    number_matrix,
    small_chart,
)

LOSSES = (("loss", "total"), ("v2t", "v2t"), ("t2v", "t2v"), ("lsim", "L sim"), ("racl", "RACL"))
VAL_FIGURES = ("mA", "F1", "AUC")
CURVES = (("precision", "precision"), ("recall", "recall"), ("mA", "mA"))
PERCENT = Axis(0.0, 1.0, [(0.0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1.0, "100")])


def loss_chart(history: Sequence[dict[str, Any]]) -> Markup | None:
    """Training losses per epoch over a logarithmic axis; a loss that is always 0 is off and left out."""
    lines = [
        Series(f"loss-{key}", label, [(record["epoch"], record.get(key) or None) for record in history])
        for key, label in LOSSES
        if any(record.get(key) for record in history)
    ]
    values = [y for line in lines for _, y in line.points if y is not None and y > 0]
    if not values:
        return None
    return line_chart(
        lines,
        _epochs(history),
        log_axis(min(values), max(values)),
        title="Training losses per epoch",
        dots=_few(history),
    )


def val_chart(history: Sequence[dict[str, Any]], best: int) -> Markup | None:
    """Figures on val per evaluated epoch, the best epoch marked."""
    evaluated = [record for record in history if record.get("val")]
    if not evaluated:
        return None
    lines = [
        Series(f"val-{name}", name, [(record["epoch"], record["val"].get(name)) for record in evaluated])
        for name in VAL_FIGURES
    ]
    values = [y for line in lines for _, y in line.points if y is not None and y == y]
    axis = linear_axis(min(values, default=0.0), max(values, default=1.0), wanted=4, percent=True)
    marks = [("best", float(best), f"best epoch {best}")] if best else []
    return line_chart(
        lines, _epochs(history), axis, title="Figures on val per epoch, in percent", dots=_few(evaluated), marks=marks
    )


def rate_chart(history: Sequence[dict[str, Any]]) -> Markup | None:
    """The learning rate at the end of each epoch."""
    points = [(record["epoch"], record.get("learning_rate")) for record in history]
    values = [value for _, value in points if value is not None]
    if not values:
        return None
    axis = linear_axis(0.0, max(values) or 1.0, wanted=4)
    return line_chart(
        [Series("rate", "", points)],
        _epochs(history),
        axis,
        title="Learning rate per epoch",
        labels=False,
        dots=_few(history),
    )


def threshold_axis(curve: CommonCurve) -> Axis:
    """The axis of all threshold charts of a run: the common grid's range."""
    return linear_axis(curve.thresholds[0], curve.thresholds[-1], wanted=7, inside=True)


def threshold_chart(curve: CommonCurve) -> Markup:
    """Precision, recall and mA against one threshold for all attributes; the page's script redraws it for one."""
    lines = [
        Series(key, label, [*zip(curve.thresholds, curve.figures[name], strict=True)])
        for (key, label), name in zip(CURVES, ("Prec", "Recall", "mA"), strict=True)
    ]
    chosen = curve.thresholds[curve.marks["global"]]
    return line_chart(
        lines,
        threshold_axis(curve),
        PERCENT,
        title="Precision, recall and mA in percent against one threshold for all attributes",
        width=560,
        height=280,
        labels=False,
        marks=[("global", chosen, "global, from val")],
        cursor=chosen,
    )


def attribute_chart(curve: AttributeCurve, axis: Axis) -> Markup:
    """One attribute's precision, recall and mA against its threshold, val and oracle marked."""
    rows = [curve.figures(position) for position in range(len(curve.thresholds))]
    for row, hits, false in zip(rows, curve.hits, curve.false, strict=True):
        # A precision of nothing counts as 0 in figures; as a line it would be a cliff that is not there.
        row["precision"] = row["precision"] if hits + false else None
    lines = [
        Series(key, label, [(t, row[key]) for t, row in zip(curve.thresholds, rows, strict=True)][::2])
        for key, label in CURVES
    ]
    marks = [(source, curve.thresholds[curve.marks[source]]) for source in ("val", "oracle")]
    return small_chart(lines, axis, marks, title=f"Precision, recall and mA of {curve.phrase} against its threshold")


def attention_matrix(found: BeforeAndAfter, state: Similarities, when: str) -> Markup:
    """Measured S_attn of one state."""
    title = f"Mean cosine similarity of the texts' attention over Mix Tokens {when}, texts ordered by region"
    return block_matrix(state.attention.tolist(), found.region_runs, title=title)


def wanted_matrix(found: BeforeAndAfter) -> Markup:
    """The block matrix B (Eq. 6)."""
    title = "Block matrix: 1 where two texts share a region, else 0"
    return block_matrix(found.blocks.tolist(), found.region_runs, title=title)


def mix_matrix(state: Similarities, labels: Sequence[str], when: str) -> Markup:
    """Mean S_mix of one state."""
    return number_matrix(
        state.tokens.tolist(), labels, labels, title=f"Mean cosine similarity of the Mix Tokens {when} training"
    )


def token_matrix(found: BeforeAndAfter, state: Similarities, labels: Sequence[str], when: str) -> Markup:
    """What a region's texts take from each Mix Token, in percent."""
    regions = [name for name, _ in found.region_runs]
    title = f"Share of each Mix Token in the attention of each region's texts {when} training, in percent"
    return number_matrix(state.tokens.tolist(), regions, labels, title=title, percent=True)


def _epochs(history: Sequence[dict[str, Any]]) -> Axis:
    last = max(record["epoch"] for record in history)
    axis = linear_axis(1.0, max(2.0, float(last)), wanted=6, inside=True)
    ticks = [(value, text) for value, text in axis.ticks if value == int(value) and value > 1 + 0.04 * last]
    return Axis(axis.low, axis.high, [(1.0, "1"), *ticks])


def _few(points: Sequence[object]) -> bool:
    """Few enough for a dot on each."""
    return len(points) <= 12
