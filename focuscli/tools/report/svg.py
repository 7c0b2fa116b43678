"""Small charts as inline SVG: pure functions from numbers to markup. Colours come from the page's style sheet by class,
so that they follow its light and dark forms; sizes are in CSS pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from markupsafe import Markup, escape

from focuscli.tools.report.axes import Axis

Point = tuple[float, float | None]

LEVELS = 16
LINE = 12.0  # Least distance of two labels.


@dataclass(frozen=True)
class Series:
    """A line: `key` is its class and its data-series, `label` stands at its end where the chart labels its lines.
    Points ascend in x; a None breaks the line."""

    key: str
    label: str
    points: Sequence[Point]


def line_chart(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    title: str,
    width: int = 360,
    height: int = 210,
    labels: bool = True,
    dots: bool = False,
    marks: Sequence[tuple[str, float, str]] = (),
    cursor: float | None = None,
) -> Markup:
    """Lines over two axes.

    Args:
        title: the text that stands for the picture where it cannot be seen.
        labels: names at the ends of the lines. dots: a dot at each point.
        marks: class, x and text of dashed vertical lines. cursor: x of a solid one.
    """
    longest = max((len(text) for _, text in y.ticks), default=0)
    left, right, top, bottom = 10.0 + 6.4 * longest, (58.0 if labels else 12.0), (20.0 if marks else 8.0), 24.0
    wide, high = width - left - right, height - top - bottom

    def across(value: float) -> float:
        return left + wide * x.place(value)

    def down(value: float) -> float:
        return top + high * (1 - y.place(value))

    parts = []
    for value, text in y.ticks:
        parts.append(f'<path class="grid" d="M{left:g} {down(value):.1f}h{wide:g}"/>')
        parts.append(f'<text x="{left - 6:g}" y="{down(value) + 3.5:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in x.ticks:
        parts.append(f'<text x="{across(value):.1f}" y="{height - 6}" text-anchor="middle">{escape(text)}</text>')
    for key, value, text in marks:
        at = across(value)
        side = "end" if at > left + wide * 0.8 else "start" if at < left + wide * 0.2 else "middle"
        parts.append(
            f'<g class="mark" data-mark="{escape(key)}"><path d="M{at:.1f} {top:g}v{high:g}"/>'
            f'<text x="{at:.1f}" y="{top - 7:g}" text-anchor="{side}">{escape(text)}</text></g>'
        )
    for line in series:
        path = _path(line.points, across, down)
        parts.append(f'<path class="line {escape(line.key)}" data-series="{escape(line.key)}" d="{path}"/>')
        if dots:
            parts += [
                f'<circle class="{escape(line.key)}" cx="{across(a):.1f}" cy="{down(b):.1f}" r="2.5"/>'
                for a, b in line.points
                if b is not None and math.isfinite(b)
            ]
    if labels:
        ends = [(down(last), line) for line in series if (last := _last(line.points)) is not None]
        for place, (_, line) in zip(spread([end for end, _ in ends], LINE), ends, strict=True):
            name = escape(line.label)
            parts.append(
                f'<text class="{escape(line.key)}" x="{left + wide + 6:g}" y="{place + 3.5:.1f}">{name}</text>'
            )
    if cursor is not None:
        parts.append(f'<path class="cursor" d="M{across(cursor):.1f} {top:g}v{high:g}"/>')
    plot = f"{left:g} {top:g} {wide:g} {high:g} {x.low!r} {x.high!r} {y.low!r} {y.high!r}"
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" data-plot="{plot}">'
        f"{''.join(parts)}</svg>"
    )


def small_chart(series: Sequence[Series], x: Axis, marks: Sequence[tuple[str, float]], *, title: str) -> Markup:
    """Lines from 0 to 1 without ticks or labels, for many side by side."""
    width, height = 150, 64

    def across(value: float) -> float:
        return width * x.place(value)

    def down(value: float) -> float:
        return 1 + (height - 2) * (1 - value)

    parts = [f'<path class="grid" d="M0 {down(level):.1f}h{width}"/>' for level in (0, 0.5, 1)]
    parts += [f'<path class="mark {escape(key)}" d="M{across(at):.1f} 0v{height}"/>' for key, at in marks]
    parts += [f'<path class="line {escape(s.key)}" d="{_path(s.points, across, down)}"/>' for s in series]
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


def block_matrix(values: Sequence[Sequence[float]], runs: Sequence[tuple[str, int]], *, title: str) -> Markup:
    """A square matrix of values in 0..1 whose rows come in named runs; the darker the larger.

    Args:
        runs: names and lengths of the runs, which are set apart by thin lines.
    """
    count = len(values)
    left, side = 46.0, 260.0
    cell = side / max(1, count)
    parts = [f'<rect class="ground" x="{left:g}" y="0" width="{side:g}" height="{side:g}"/>']
    parts.append(f'<g transform="translate({left:g} 0) scale({cell:.5g})">{_levels(values)}</g>')
    bounds = [0]
    for _, length in runs:
        bounds.append(bounds[-1] + length)
    lines = "".join(
        f"M{left + cell * edge:.1f} 0v{side:g}M{left:g} {cell * edge:.1f}h{side:g}" for edge in bounds[1:-1]
    )
    parts.append(f'<path class="split" d="{lines}"/>')
    middles = [cell * (begin + end) / 2 for begin, end in pairwise(bounds)]
    for place, (name, _) in zip(spread(middles, LINE), runs, strict=True):
        parts.append(f'<text x="{left - 6:g}" y="{place + 3.5:.1f}" text-anchor="end">{escape(name)}</text>')
    return Markup(
        f'<svg viewBox="0 0 {left + side + 1:g} {side + 1:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def number_matrix(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    percent: bool = False,
    largest: float = 1.0,
) -> Markup:
    """A matrix with a number in each cell over a ground that darkens up to `largest`."""
    left, top, wide, high = 62.0, 16.0, 27.0, 22.0
    width, height = left + wide * len(columns), top + high * len(rows)
    parts = [
        f'<text x="{left + wide * (place + 0.5):g}" y="11" text-anchor="middle">{escape(name)}</text>'
        for place, name in enumerate(columns)
    ]
    for place, name in enumerate(rows):
        middle = top + high * (place + 0.5) + 3.5
        parts.append(f'<text x="{left - 6:g}" y="{middle:g}" text-anchor="end">{escape(name)}</text>')
        for number, value in enumerate(values[place]):
            strength = min(1.0, max(0.0, value / largest))
            x = left + wide * number
            parts.append(
                f'<rect class="cell" x="{x:g}" y="{top + high * place:g}" width="{wide - 1:g}" height="{high - 1:g}" '
                f'fill-opacity="{strength:.2f}"/>'
                f'<text class="{"over" if strength > 0.55 else "in"}" x="{x + wide / 2 - 0.5:g}" y="{middle:g}" '
                f'text-anchor="middle">{_cell(value, percent)}</text>'
            )
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" style="width:{width:.0f}px;max-width:100%" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def spread(places: Sequence[float], least: float) -> list[float]:
    """The places moved apart so that neighbours are at least so far from each other, in the order that they have; groups
    that were moved stay centred on where they were."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    groups: list[tuple[float, int]] = []  # Centre and size.
    for index in order:
        groups.append((places[index], 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - (n - 1) * least / 2 - (a + (m - 1) * least / 2) >= least:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    moved = [centre + least * (k - (size - 1) / 2) for centre, size in groups for k in range(size)]
    result = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        result[index] = place
    return result


def _levels(values: Sequence[Sequence[float]]) -> str:
    """Cells of one level as one path of horizontal strips: 40 times smaller than a rectangle per cell."""
    strips: dict[int, list[str]] = {}
    for y, row in enumerate(values):
        levels = [round(LEVELS * min(1.0, max(0.0, value))) for value in row]
        x = 0
        for level, run in groupby(levels):
            length = len([*run])
            if level:
                strips.setdefault(level, []).append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    return "".join(
        f'<path class="cell" fill-opacity="{level / LEVELS:.3g}" d="{"".join(parts)}"/>'
        for level, parts in sorted(strips.items())
    )


def _path(points: Sequence[Point], across: Callable[[float], float], down: Callable[[float], float]) -> str:
    parts, pen = [], "M"
    for x, y in points:
        if y is None or not math.isfinite(y):
            pen = "M"
            continue
        parts.append(f"{pen}{across(x):.1f} {down(y):.1f}")
        pen = "L"
    return "".join(parts)


def _last(points: Sequence[Point]) -> float | None:
    return next((y for _, y in reversed(points) if y is not None and math.isfinite(y)), None)


def _cell(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.0f}"
    return f"{value:.2f}".replace("0.", ".", 1).replace("-", "−") if abs(value) < 0.995 else f"{value:.0f}"
