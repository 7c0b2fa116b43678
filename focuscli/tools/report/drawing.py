"""matplotlib figures for two places: inline SVG that follows a page's light and dark colours, and files for papers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from focuscli.storage.files import atomic_path

PALETTE = {
    "ink": "#1d1f1e",
    "soft": "#5c605d",
    "faint": "#7d827e",
    "rule": "#e3e4de",
    "accent": "#0e6b63",
    "blue": "#2b5c94",
    "ochre": "#a8660a",
    "plum": "#8a3b6b",
    "grey": "#7c827d",
    "warn": "#97480a",
}
"""Colours of files. On a page each becomes the style sheet's variable of that name, which has a light and a dark value."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), PALETTE["soft"]),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), PALETTE["rule"]),
    **dict.fromkeys((f"{axis}tick.{kind}.size" for axis in "xy" for kind in ("major", "minor")), 0),
    **dict.fromkeys((f"axes.spines.{side}" for side in ("top", "right", "left")), False),
    "axes.axisbelow": True,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Chart:
    """A figure with its text alternative.

    Attributes:
        title: says in words what the figure shows, for readers who cannot see it.
        plot: the inline SVG's data-plot, which tells the page's script where the axes are.
    """

    title: str
    figure: Figure
    plot: str = ""


def style() -> AbstractContextManager[None]:
    """The settings under which figures are made and written; matplotlib's own are as before afterwards."""
    return matplotlib.rc_context(_STYLE)


def inline_svg(chart: Chart, name: str) -> Markup:
    """A chart as an <svg> element: colours as CSS variables, text as text, no id but `name`-salted references."""
    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": name}):
        chart.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    assert view_box is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"\s+", " ", body).replace("> <", "><").replace("base64, ", "base64,")
    body = re.sub(r'(<g|<path) id="([^"]+)"', _as_class, body)
    body = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), body)
    # Everything is drawn inside its axes, so clip paths, whose ids would have to be unique on the page, are not needed.
    body = re.sub(r' clip-path="[^"]*"|<clipPath.*?</clipPath>', "", body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*\)"|<g/>', "", body)
    body = re.sub(r"'DejaVu Sans'(, sans-serif)?", "var(--sans)", body)
    for colour, value in PALETTE.items():
        body = body.replace(value, f"var(--{colour})")
    plot = f' data-plot="{chart.plot}"' if chart.plot else ""
    return Markup(f'<svg viewBox="{view_box[1]}" role="img" aria-label="{escape(chart.title)}"{plot}>{body}</svg>')


def write_figures(charts: Mapping[str, Chart], folder: Path, file_format: str) -> list[Path]:
    """Write each chart to folder/NAME.FORMAT on a white ground; PNG at 300 dpi.

    Raises:
        RequirementError: the folder cannot be written.
    """
    written = []
    for name, chart in charts.items():
        target = folder / f"{name}.{file_format}"
        with atomic_path(target) as temporary, style():
            chart.figure.savefig(temporary, format=file_format, facecolor="white", bbox_inches="tight", dpi=300)
        written.append(target)
    return written


def _as_class(found: re.Match[str]) -> str:
    """An element without its id, which other charts have too: matplotlib's own (name_NUMBER) goes, ours is a class.

    Paths keep theirs: markers refer to them.
    """
    element, name = found[1], found[2]
    if element == "<path":
        return found[0]
    return element if re.search(r"_\d+$", name) else f'{element} class="{name}"'
