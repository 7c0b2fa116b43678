"""matplotlib figures for two places: inline SVG that follows a page's light and dark colours, and files for papers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
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

STYLE: dict[Any, Any] = {
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
"""Settings under which figures are made and written."""


def inline_svg(figure: Figure, name: str) -> Markup:
    """A figure as an <svg> element: its label as the text alternative, colours as CSS variables, text as text, no id but
    `name`-salted references. data-plot says where its axes are: left, top, width, height, first and last x."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
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
        with atomic_path(target) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary, format=file_format, facecolor="white", bbox_inches="tight", dpi=300)
        written.append(target)
    return written
