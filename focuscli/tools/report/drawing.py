"""matplotlib figures for two places: inline SVG that follows a page's light and dark colours, and files for papers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from focuscli.storage.files import atomic_path

TEMPLATES = Path(__file__).parent / "templates"
STYLE = TEMPLATES / "matplotlibrc"
"""Settings under which figures are made and written, in place of the user's own."""
PALETTE = dict(
    re.findall(r"--(\w+): (#\w{6})", (TEMPLATES / "report.css").read_text(encoding="utf-8").partition("}")[0])
)
"""Colours of the page on a light ground, by name, which are those of files too. On the page they stay variables of the style
sheet, which has dark values as well."""


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
