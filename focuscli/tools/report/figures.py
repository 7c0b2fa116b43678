"""Which figures a report has, and how each is drawn. Importing this module loads matplotlib, which takes a second."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from focuscli.evaluation.closed_set import AttributeMetrics
from focuscli.tools.report.collect import RunReport
from focuscli.tools.report.curves import AttributeCurve, CommonCurve
from focuscli.tools.report.drawing import PALETTE, Chart, style
from focuscli.tools.report.similarity import BeforeAndAfter

LOSSES = {
    "loss": ("total", "ink"),
    "v2t": ("v2t", "blue"),
    "t2v": ("t2v", "ochre"),
    "lsim": ("L sim", "plum"),
    "racl": ("RACL", "accent"),
}
VAL_METRICS = {"mA": "accent", "F1": "blue", "AUC": "grey"}
CURVES = {"precision": "blue", "recall": "ochre", "mA": "accent"}
CELL = "#26857a"  # On a light and on a dark page, text of either's colour is readable on it.


def run_charts(report: RunReport) -> dict[str, Chart]:
    """Every figure of a run by name; figures that the run has no data for are missing."""
    with style():
        charts = {
            "losses": loss_chart(report.history),
            "val-metrics": val_chart(report.history, int(report.state["best"]["epoch"])),
            "learning-rate": rate_chart(report.history),
            "thresholds": threshold_chart(report.common),
            "thresholds-by-attribute": attribute_threshold_chart(report.curves, report.common),
        }
        ends = [value for row in report.main.attributes for value in (row.recall, row.specificity) if value is not None]
        low = math.floor(10 * min([0.4, *ends])) / 10
        for region, rows in report.regions:
            charts["attributes-" + re.sub(r"\W+", "-", region)] = attribute_chart(region, rows, low)
        if report.similarities is not None:
            charts |= _similarity_charts(report.similarities, report.token_names)
    return {name: chart for name, chart in charts.items() if chart is not None}


def loss_chart(history: Sequence[dict[str, Any]]) -> Chart | None:
    """Training losses per epoch on a logarithmic axis; a loss that is always 0 is switched off and not drawn."""
    lines = {key: _values(history, key) for key in LOSSES}
    lines = {key: np.where(values > 0, values, np.nan) for key, values in lines.items() if (values > 0).any()}
    if not lines:
        return None
    figure, axes = _epoch_axes(history)
    for key, values in lines.items():
        _line(axes, _values(history, "epoch"), values, *LOSSES[key])
    decades = np.log10([np.nanmin([*lines.values()]), np.nanmax([*lines.values()])])
    bottom, top = math.floor(decades[0]), math.ceil(decades[1])
    axes.set_yscale("log")
    axes.set_ylim(10.0**bottom, 10.0 ** max(top, bottom + 1))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    _legend(axes)
    return Chart("Training losses per epoch, logarithmic", figure)


def val_chart(history: Sequence[dict[str, Any]], best_epoch: int) -> Chart | None:
    """Metrics on val per evaluated epoch in percent, the best epoch marked."""
    evaluated = [record for record in history if record.get("val")]
    if not evaluated:
        return None
    figure, axes = _epoch_axes(history)
    for name, colour in VAL_METRICS.items():
        values = _values([record["val"] for record in evaluated], name)
        _line(axes, _values(evaluated, "epoch"), 100 * values, name, colour)
    if best_epoch:
        axes.axvline(best_epoch, color=PALETTE["faint"], linewidth=0.8, linestyle=":", label="best epoch")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    _legend(axes)
    return Chart("Metrics on val per epoch, in percent", figure)


def rate_chart(history: Sequence[dict[str, Any]]) -> Chart | None:
    """The learning rate at the end of each epoch."""
    values = _values(history, "learning_rate")
    if not np.isfinite(values).any():
        return None
    figure, axes = _epoch_axes(history)
    _line(axes, _values(history, "epoch"), values, "learning rate", "ink")
    axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:.0e}")
    _legend(axes)
    return Chart("Learning rate per epoch", figure)


def threshold_chart(curve: CommonCurve) -> Chart:
    """Precision, recall and mA against one threshold for all attributes. The page's script redraws the lines for one
    attribute and moves the cursor; data-plot tells it where the axes are: left, top, width, height, first and last x."""
    width, height = 5.6, 2.9
    box = left, bottom, wide, high = 0.06, 0.16, 0.91, 0.76
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(box)
    _percent_axes(axes, curve.thresholds)
    axes.set_xlabel("threshold", labelpad=1, loc="right")
    for (name, colour), metric in zip(CURVES.items(), ("Prec", "Recall", "mA"), strict=True):
        _line(axes, curve.thresholds, curve.metrics[metric], name, colour, gid=name)
    _legend(axes, -0.21)
    chosen = curve.thresholds[curve.positions["global"]]
    axes.axvline(chosen, color=PALETTE["faint"], linewidth=0.8, linestyle=":", clip_on=False, gid="mark")
    axes.text(
        chosen, 1.04, "global, from val", fontsize=7, ha="center", transform=axes.get_xaxis_transform(), gid="mark"
    )
    axes.axvline(chosen, color=PALETTE["ink"], linewidth=1.0, clip_on=False, gid="cursor")
    place = (left * width, (1 - bottom - high) * height, wide * width, high * height)
    numbers = [*(72 * value for value in place), *axes.get_xlim()]
    return Chart(
        "Precision, recall and mA in percent against one threshold for all attributes",
        figure,
        plot=" ".join(f"{number:.6g}" for number in numbers),
    )


def attribute_threshold_chart(curves: Sequence[AttributeCurve], common: CommonCurve) -> Chart:
    """Each attribute's precision, recall and mA against its own threshold, over the range of the common thresholds.
    Solid upright: the threshold from val; dotted: the oracle's."""
    columns, rows = 3, math.ceil(len(curves) / 3)
    height = 0.95 * rows + 0.4
    figure = Figure(figsize=(5.1, height))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.2 / height, top=1 - 0.4 / height, hspace=0.4, wspace=0.1)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    for number, (panel, curve) in enumerate(zip(panels.flat, curves, strict=False)):
        _percent_axes(panel, common.thresholds)
        panel.tick_params(labelbottom=number >= len(curves) - columns)
        panel.set_title(curve.phrase, fontsize=7, pad=3)
        metrics = [curve.metrics(position) for position in range(0, len(curve.thresholds), 2)]
        for name, colour in CURVES.items():
            _line(panel, curve.thresholds[::2], [row[name] for row in metrics], name, colour, width=1.0)
        for source, dashes, colour in (("val", "-", "ink"), ("oracle", ":", "warn")):
            place = np.clip(curve.thresholds[curve.positions[source]], *panel.get_xlim())
            label = f"threshold, {source}"
            panel.axvline(place, color=PALETTE[colour], linewidth=0.8, linestyle=dashes, clip_on=False, label=label)
    _legend(panels[0, 0], 1.25)
    return Chart("Precision, recall and mA of each attribute against its threshold", figure)


def attribute_chart(region: str, rows: Sequence[tuple[AttributeMetrics, float | None]], low: float) -> Chart:
    """mA of a region's attributes as bars from 50, which is guessing; recall and specificity as ticks; mA and the share
    of positive images as numbers. `low`: where the axis starts, as a fraction."""
    height = 0.19 * len(rows) + 0.35
    figure = Figure(figsize=(4.2, height))
    axes = figure.add_axes((0.39, 0.02 / height, 0.37, 1 - 0.35 / height))
    places = np.arange(len(rows))
    accuracy = np.array([row.mA for row, _ in rows], dtype=float)
    colours = [PALETTE["warn" if value < 0.5 else "accent"] for value in accuracy]
    axes.barh(places, np.nan_to_num(accuracy - 0.5), left=0.5, height=0.5, color=colours, clip_on=False)
    for x, name, colour in ((-0.65, "recall", "ochre"), (-0.03, "specificity", "plum")):
        values = np.array([getattr(row, name) for row, _ in rows], dtype=float)
        axes.vlines(values, places - 0.4, places + 0.4, color=PALETTE[colour], linewidth=1.5, clip_on=False)
        axes.text(x, -0.95, name, color=PALETTE[colour], ha="right", va="center", transform=axes.get_yaxis_transform())
    axes.axvline(0.5, color=PALETTE["faint"], linewidth=0.8, clip_on=False)
    axes.set_xlim(low, 1.0)
    axes.set_xticks([0.5, 0.75, 1.0], ["50", "75", "100"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(places, [textwrap.shorten(row.phrase, 30, placeholder="…") for row, _ in rows], fontsize=7)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    for x, name, numbers in (
        (1.28, "mA", [_percent(row.mA, 2) for row, _ in rows]),
        (1.61, "positive", [_percent(rate, 1) for _, rate in rows]),
    ):
        for place, text in zip((-0.95, *places), (name, *numbers), strict=True):
            axes.text(x, place, text, ha="right", va="center", transform=axes.get_yaxis_transform())
    return Chart(f"mA, recall and specificity of the attributes of region {region}, in percent", figure)


def _similarity_charts(found: BeforeAndAfter, tokens: Sequence[str]) -> dict[str, Chart]:
    regions = [name for name, _ in found.region_sizes]
    blocks = "Block matrix: 1 where two texts share a region, else 0"
    charts = {"block-matrix": _region_matrix(found, found.blocks, blocks)}
    for when, state in found.states:
        attention = f"Mean cosine similarity of the texts' attention {when} training, texts ordered by region"
        shares = f"Share of each Mix Token in the attention of each region's texts {when} training, in percent"
        mix = f"Mean cosine similarity of the Mix Tokens' features {when} training"
        charts[f"attention-similarity-{when}"] = _region_matrix(found, state.attention, attention)
        charts[f"region-tokens-{when}"] = _number_matrix(100 * state.tokens, regions, tokens, shares, 100, "{:.0f}")
        charts[f"token-similarity-{when}"] = _number_matrix(state.mix, tokens, tokens, mix, 1, "{:.2f}")
    return charts


def _region_matrix(found: BeforeAndAfter, values: NDArray[np.float64], title: str) -> Chart:
    """A [Z, Z] matrix of values in 0..1, with the regions of its rows set apart."""
    figure = Figure(figsize=(3.6, 3.0))
    axes = figure.add_axes((0.16, 0.01, 0.83, 0.98))
    _cells(axes, values)
    edges = np.cumsum([0, *(size for _, size in found.region_sizes)])
    for edge in edges[1:-1]:
        axes.axhline(edge - 0.5, color=PALETTE["faint"], linewidth=0.6, clip_on=False)
        axes.axvline(edge - 0.5, color=PALETTE["faint"], linewidth=0.6, clip_on=False)
    axes.set_yticks((edges[:-1] + edges[1:] - 1) / 2, [name for name, _ in found.region_sizes])
    axes.set_xticks([])
    return Chart(title, figure)


def _number_matrix(
    values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], title: str, largest: float, number: str
) -> Chart:
    """A matrix with its numbers in the cells."""
    width, height = 0.3 * len(columns) + 0.65, 0.24 * len(rows) + 0.22
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.63 / width, 0.02 / height, 1 - 0.65 / width, 1 - 0.22 / height))
    _cells(axes, values / largest)
    for (row, column), value in np.ndenumerate(values):
        text = number.format(value).replace("-", "−").replace("0.", ".")
        axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=PALETTE["ink"])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    return Chart(title, figure)


def _cells(axes: Axes, values: NDArray[np.float64]) -> None:
    """Cells as an image of one colour whose opacity is the value in 0..1: the ground, light or dark, shows through."""
    image = np.empty((*values.shape, 4))
    image[..., :3] = to_rgb(CELL)
    image[..., 3] = 0.85 * np.clip(values, 0, 1)
    axes.imshow(image, interpolation="none", aspect="auto", clip_on=False)
    axes.spines[:].set_visible(True)


def _epoch_axes(history: Sequence[dict[str, Any]]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.6, 2.2))
    axes = figure.add_axes((0.14, 0.16, 0.83, 0.72))
    axes.set_xlim(1, max(2, history[-1]["epoch"]))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", labelpad=1)
    axes.grid(axis="y")
    return figure, axes


def _percent_axes(axes: Axes, thresholds: Sequence[float]) -> None:
    """0 to 100 percent over the range of thresholds."""
    first, last = thresholds[0], thresholds[-1]
    axes.set_xlim(first, last if last > first else first + 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.grid(axis="y")


def _line(
    axes: Axes,
    x: Sequence[float] | NDArray[np.float64],
    y: Sequence[float | None] | NDArray[np.float64],
    label: str,
    colour: str,
    *,
    width: float = 1.3,
    gid: str | None = None,
) -> None:
    """A line that is broken where a value is None or NaN, with a dot on each point if they are few."""
    values = np.array(y, dtype=float)
    marker = "o" if len(values) <= 12 else None
    axes.plot(x, values, color=PALETTE[colour], label=label, marker=marker, linewidth=width, clip_on=False, gid=gid)


def _legend(axes: Axes, height: float = 1.0) -> None:
    """Names in their line's colour; `height`: of the legend's lower end in the axes, 1 is above them."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, height), "borderaxespad": 0.2}
    axes.legend(**place, ncols=5, handlelength=1.2, columnspacing=1.0, labelcolor="linecolor")


def _values(records: Sequence[dict[str, Any]], key: str) -> NDArray[np.float64]:
    """One number per record, NaN where it is missing or null."""
    return np.array([record.get(key) for record in records], dtype=float)


def _percent(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"
