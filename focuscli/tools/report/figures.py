"""Which figures a report has, how each is drawn, and what becomes of it: inline SVG that follows the page's light and dark
colours, or a file. Importing this module loads matplotlib, which takes a second."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from focuscli.evaluation.closed_set import AttributeMetrics
from focuscli.storage.files import atomic_path
from focuscli.tools.report.collect import Curve, Epoch, RunReport
from focuscli.tools.report.similarity import BeforeAndAfter

TEMPLATES = Path(__file__).parent / "templates"
STYLE = TEMPLATES / "matplotlibrc"  # settings under which figures are made and written, in place of the user's own
PALETTE = dict(
    re.findall(r"--(\w+): (#\w{6})", (TEMPLATES / "report.css").read_text(encoding="utf-8").partition("}")[0])
)
"""Colours of the page on a light ground, by name, which are those of files too. On the page they stay variables of the style
sheet, which has dark values as well."""
CURVES = {"precision": "blue", "recall": "ochre", "mA": "accent"}
CELL = "#26857a"  # On a light and on a dark page, text of either's colour is readable on it.


def run_figures(report: RunReport, detailed: bool = True) -> dict[str, Figure]:
    """Every figure of a run by name, labelled in words for readers who cannot see it; those without data are missing.
    `detailed`: with the curves of each attribute."""
    model = report.state["config"]["model"]
    # Global Mix Tokens g1, g2, ..., then local ones l1, l2, ... from the top of the image to its bottom.
    counts = (("g", model["global_tokens"]), ("l", model["local_tokens"]))
    tokens = [f"{kind}{number + 1}" for kind, count in counts for number in range(count)]
    with matplotlib.rc_context(fname=STYLE):
        figures: dict[str, Figure | None] = {
            **epoch_figures(report.history, int(report.state["best"]["epoch"])),
            "thresholds": threshold_figure(report.common),
            "thresholds-by-attribute": attribute_threshold_figure(report) if detailed else None,
        }
        for region in report.data.schema.regions:
            figures[f"attributes-{region}"] = attribute_figure(region, report.main.attributes, report.labelled.known)
        if report.similarities is not None:
            figures |= similarity_figures(report.similarities, tokens)
    return {name: figure for name, figure in figures.items() if figure is not None}


def epoch_figures(history: Sequence[Epoch], best_epoch: int) -> dict[str, Figure | None]:
    """Training losses on a logarithmic axis (one that is always 0 is switched off and not drawn), metrics on val in percent,
    the best epoch marked, and the learning rate; None without a value."""
    names = {"loss": ("total", "ink"), "v2t": ("v2t", "blue"), "t2v": ("t2v", "ochre")}
    names |= {"lsim": ("L sim", "plum"), "racl": ("RACL", "accent")}
    lines = {shown: [getattr(epoch, name) or None for epoch in history] for name, shown in names.items()}
    losses = _epochs("Training losses per epoch, logarithmic", history, lines)
    if losses is not None:
        axes = losses.axes[0]
        low, high = np.log10(axes.dataLim.intervaly)
        axes.set_yscale("log")
        axes.set_ylim(10.0 ** math.floor(low), 10.0 ** max(math.ceil(high), math.floor(low) + 1))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    found = {
        (name, colour): [None if (value := epoch.val.get(name)) is None else 100 * value for epoch in history]
        for name, colour in (("mA", "accent"), ("F1", "blue"), ("AUC", "grey"))
    }
    metrics = _epochs("Metrics on val per epoch, in percent", history, found, best_epoch)
    if metrics is not None:
        metrics.axes[0].yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    rates = _epochs("Learning rate per epoch", history, {("learning rate", "ink"): [e.learning_rate for e in history]})
    if rates is not None:
        axes = rates.axes[0]
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter("{x:.0e}")
    return {"losses": losses, "val-metrics": metrics, "learning-rate": rates}


def threshold_figure(curve: Curve) -> Figure:
    """Precision, recall and mA against one threshold for all attributes. The page's script redraws the lines for one
    attribute and moves the cursor."""
    figure = Figure(
        figsize=(5.6, 2.9), label="Precision, recall and mA in percent against one threshold for all attributes"
    )
    axes = figure.add_axes((0.06, 0.16, 0.91, 0.76))
    _metrics(axes, curve, (curve.thresholds[0], curve.thresholds[-1]))
    axes.set_xlabel("threshold", labelpad=1, loc="right")
    _legend(axes, -0.21)
    chosen = curve.thresholds[curve.positions["global"]]
    place: dict[str, Any] = {"ha": "center", "transform": axes.get_xaxis_transform(), "gid": "mark"}
    axes.text(chosen, 1.04, "global, from val", fontsize=7, **place)
    axes.axvline(chosen, color=PALETTE["ink"], linewidth=1.0, clip_on=False, gid="cursor")
    return figure


def attribute_threshold_figure(report: RunReport) -> Figure:
    """Each attribute's precision, recall and mA against its own threshold. Solid upright: the threshold from val; dotted:
    the oracle's."""
    count, columns = len(report.curves), 3
    rows = math.ceil(count / columns)
    height = 0.95 * rows + 0.4
    figure = Figure(figsize=(5.1, height), label="Precision, recall and mA of each attribute against its threshold")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.2 / height, top=1 - 0.4 / height, hspace=0.4, wspace=0.1)
    ends = [value for curve in report.curves for value in curve.thresholds[[0, -1]]]
    for number, (panel, curve, row) in enumerate(zip(panels.flat, report.curves, report.main.attributes, strict=False)):
        _metrics(panel, curve, (min(ends), max(ends)), step=2)
        panel.tick_params(labelbottom=number >= count - columns)
        panel.set_title(row.phrase, fontsize=7, pad=3)
        for source, dashes, colour in (("val", "-", "ink"), ("oracle", ":", "warn")):
            style: dict[str, Any] = {"color": PALETTE[colour], "linestyle": dashes, "label": f"threshold, {source}"}
            panel.axvline(curve.thresholds[curve.positions[source]], linewidth=0.8, clip_on=False, **style)
    for panel in panels.flat[count:]:
        panel.set_visible(False)
    _legend(panels[0, 0], 1.25)
    return figure


def attribute_figure(region: str, attributes: Sequence[AttributeMetrics], known: NDArray[np.bool_]) -> Figure | None:
    """mA of a region's attributes as bars from 50, which is guessing, the best first; recall and specificity as ticks; mA
    and the share of positives among `known` labels [N, Z] as numbers. The axis is that of all regions."""
    ends = [value for row in attributes for value in (row.recall, row.specificity) if value is not None]
    counts = known.sum(axis=0).tolist()
    pairs = [(row, row.positives / count if count else None) for row, count in zip(attributes, counts, strict=True)]
    rows = sorted((pair for pair in pairs if pair[0].region == region), key=lambda pair: -(pair[0].mA or 0.0))
    if not rows:
        return None
    height = 0.19 * len(rows) + 0.35
    title = f"mA, recall and specificity of the attributes of region {region}, in percent"
    figure = Figure(figsize=(4.2, height), label=title)
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
    axes.set_xlim(math.floor(10 * min([0.4, *ends])) / 10, 1.0)
    axes.set_xticks([0.5, 0.75, 1.0], ["50", "75", "100"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(places, [textwrap.shorten(row.phrase, 30, placeholder="…") for row, _ in rows], fontsize=7)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    for x, name, numbers in (
        (1.28, "mA", [percent(row.mA) for row, _ in rows]),
        (1.61, "positive", [percent(share, 1) for _, share in rows]),
    ):
        for place, text in zip((-0.95, *places), (name, *numbers), strict=True):
            axes.text(x, place, text, ha="right", va="center", transform=axes.get_yaxis_transform())
    return figure


def similarity_figures(found: BeforeAndAfter, tokens: Sequence[str]) -> dict[str, Figure]:
    """The block matrix, and before and after training the texts' attention and the Mix Tokens' similarity."""
    blocks = "Block matrix: 1 where two texts share a region, else 0"
    figures = {"block-matrix": _region_matrix(blocks, found.blocks, found.regions)}
    for when, state in found.states.items():
        attention = f"Mean cosine similarity of the texts' attention {when} training, texts ordered by region"
        shares = f"Share of each Mix Token in the attention of each region's texts {when} training, in percent"
        mix = f"Mean cosine similarity of the Mix Tokens' features {when} training"
        figures |= {
            f"attention-similarity-{when}": _region_matrix(attention, state["attention"], found.regions),
            f"region-tokens-{when}": _number_matrix(shares, state["tokens"], "{:.0f}", 100, [*found.regions], tokens),
            f"token-similarity-{when}": _number_matrix(mix, state["mix"], "{:.2f}", 1, tokens, tokens),
        }
    return figures


def inline_svg(figure: Figure, name: str) -> Markup:
    """A figure as an <svg> element: its label as the text alternative, colours as CSS variables, text as text, no id but
    `name`-salted references. data-plot says where its axes are: left, top, width, height, first and last x."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}, fname=STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"\s+", " ", body).replace("> <", "><").replace("base64, ", "base64,")
    # Ids would have to be unique on the page: matplotlib's own (name_NUMBER) go, ours become classes. Paths keep theirs, to
    # which markers refer. Clip paths are not needed, because everything is drawn inside its axes.
    body = re.sub(r'<g id="[^"]+_\d+"', "<g", body).replace('<g id="', '<g class="')
    body = re.sub(r' clip-path="[^"]*"|<clipPath.*?</clipPath>', "", body)
    body = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*\)"|<g/>', "", body)
    body = re.sub(r"'DejaVu Sans'(, sans-serif)?", "var(--sans)", body)
    for colour, value in PALETTE.items():
        body = body.replace(value, f"var(--{colour})")
    width, height = 72 * figure.get_size_inches()
    axes = figure.axes[0]
    place = axes.get_position()
    plot = (place.x0 * width, (1 - place.y1) * height, place.width * width, place.height * height, *axes.get_xlim())
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(figure.get_label())}" '
        f'data-plot="{" ".join(f"{number:.6g}" for number in plot)}">{body}</svg>'
    )


def write_figures(figures: Mapping[str, Figure], folder: Path, file_format: str) -> list[Path]:
    """Write each figure to folder/NAME.FORMAT on a white ground; PNG at 300 dpi.

    Raises:
        RequirementError: the folder cannot be written.
    """
    written = []
    for name, figure in figures.items():
        target = folder / (re.sub(r"[^\w-]+", "-", name) + f".{file_format}")
        with atomic_path(target) as temporary, matplotlib.rc_context(fname=STYLE):
            figure.savefig(temporary, format=file_format, facecolor="white", bbox_inches="tight", dpi=300)
        written.append(target)
    return written


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as percent; a dash where undefined."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"


def _epochs(
    title: str, history: Sequence[Epoch], lines: Mapping[tuple[str, str], Sequence[float | None]], best_epoch: int = 0
) -> Figure | None:
    """Lines by name and colour, one value per epoch; None without a value."""
    figure = Figure(figsize=(3.6, 2.2), label=title)
    axes = figure.add_axes((0.14, 0.16, 0.83, 0.72))
    axes.set_xlim(1, max(2, history[-1].epoch))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", labelpad=1)
    axes.grid(axis="y")
    for (name, colour), values in lines.items():
        points = {epoch.epoch: value for epoch, value in zip(history, values, strict=True) if value is not None}
        if points:
            style: dict[str, Any] = {"color": PALETTE[colour], "marker": "o" if len(points) <= 12 else None}
            axes.plot([*points], [*points.values()], label=name, clip_on=False, **style)
    if not axes.lines:
        return None
    if best_epoch:
        axes.axvline(best_epoch, color=PALETTE["faint"], linewidth=0.8, linestyle=":", label="best epoch")
    _legend(axes)
    return figure


def _metrics(axes: Axes, curve: Curve, ends: tuple[float, float], step: int = 1) -> None:
    """Precision, recall and mA from 0 to 100 percent at each `step`-th threshold, over thresholds between `ends`."""
    first, last = ends
    axes.set_xlim(first, last if last > first else first + 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.grid(axis="y")
    for name, colour in CURVES.items():
        values = curve.metrics[name][::step]
        if name == "precision":  # without any positive prediction it counts as 0, which would be a false cliff
            values = np.where(values > 0, values, np.nan)
        axes.plot(curve.thresholds[::step], values, color=PALETTE[colour], label=name, clip_on=False, gid=name)


def _region_matrix(title: str, values: NDArray[np.float64], regions: Mapping[str, int]) -> Figure:
    """A [Z, Z] matrix of values in 0..1, with the regions of its rows set apart."""
    figure, axes = _matrix(title, values, (3.6, 3.0), (0.16, 0.01, 0.83, 0.98))
    edges = np.cumsum([0, *regions.values()])
    for edge in edges[1:-1]:
        axes.axhline(edge - 0.5, color=PALETTE["faint"], linewidth=0.6, clip_on=False)
        axes.axvline(edge - 0.5, color=PALETTE["faint"], linewidth=0.6, clip_on=False)
    axes.set_yticks((edges[:-1] + edges[1:] - 1) / 2, [*regions])
    axes.set_xticks([])
    return figure


def _number_matrix(
    title: str, values: NDArray[np.float64], form: str, scale: float, rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """A matrix of values in 0..1 with their multiples by `scale` in its cells."""
    width, height = 0.3 * len(columns) + 0.65, 0.24 * len(rows) + 0.22
    place = 0.63 / width, 0.02 / height, 1 - 0.65 / width, 1 - 0.22 / height
    figure, axes = _matrix(title, values, (width, height), place)
    for (row, column), value in np.ndenumerate(values):
        text = form.format(scale * value).replace("-", "−").replace("0.", ".")
        axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=PALETTE["ink"])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    return figure


def _matrix(
    title: str, values: NDArray[np.float64], size: tuple[float, float], place: tuple[float, float, float, float]
) -> tuple[Figure, Axes]:
    """Cells of one colour whose opacity is the value in 0..1: the ground, light or dark, shows through."""
    figure = Figure(figsize=size, label=title)
    axes = figure.add_axes(place)
    image = np.empty((*values.shape, 4))
    image[..., :3] = to_rgb(CELL)
    image[..., 3] = 0.85 * np.clip(values, 0, 1)
    axes.imshow(image, interpolation="none", aspect="auto", clip_on=False)
    axes.spines[:].set_visible(True)
    return figure, axes


def _legend(axes: Axes, height: float = 1.0) -> None:
    """Names in their line's colour; `height`: of the legend's lower end in the axes, 1 is above them."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, height), "borderaxespad": 0.2}
    axes.legend(**place, ncols=5, handlelength=1.2, columnspacing=1.0, labelcolor="linecolor")
