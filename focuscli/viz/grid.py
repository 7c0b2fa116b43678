"""Attention maps as pictures: heat over crops with scores, and Mix Tokens one by one. Pillow and numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from focuscli.viz.canvas import FAINT, INK, MUTED, NO, RULE, TRACK, YES, Canvas, fit_text, line_height, text_width, wrap
from focuscli.viz.heat import overlay, turbo

__all__ = ["Cell", "attention_grid", "overlay", "token_grid"]

PAGE_WIDTH = 1600  # Cells go on in a further line rather than beyond this width, in units of the drawing scale.
TITLE_LINES = 3
LEAST_SCALE = 0.8  # Smaller text cannot be read.
DEEPEST = (23, 78, 166)


@dataclass(frozen=True)
class Cell:
    """One text over one image.

    Attributes:
        heat: [h, w] in 0..1, over the whole image whatever its size; None draws the plain image.
        title: the text.
        score, threshold: in the model's own unit; the attribute is present where score > threshold.
        threshold_source: where the threshold comes from, in a few words; may be empty.
        probability: position of the score in 0..1 with the threshold at 0.5; None draws no bar.
        seen: False marks a text that was no attribute in training.
        region: the part of the body that the text is about; may be empty.
    """

    heat: np.ndarray | None
    title: str
    score: float | None = None
    threshold: float | None = None
    threshold_source: str = ""
    probability: float | None = None
    seen: bool | None = None
    region: str = ""


def attention_grid(
    rows: Sequence[tuple[Image.Image, Sequence[Cell]]],
    *,
    alpha: float = 0.5,
    cell_height: int = 256,
    caption: str = "",
) -> Image.Image:
    """A row per image: the plain crop, then a cell per text; what does not fit the page's width goes on below.

    `cell_height` is the height of the images in pixels (wide ones are lower); text and spacing grow with it.
    """
    if not rows:
        raise ValueError("no rows to draw")
    scale = max(LEAST_SCALE, cell_height / 256)
    pictures = [fit(image, cell_height) for image, _ in rows]
    column = max(round(128 * scale), *(picture.width for picture in pictures))
    gap, margin = round(16 * scale), round(18 * scale)
    most = max(len(cells) for _, cells in rows)
    per_line = max(1, min(most, int(PAGE_WIDTH * scale) // (column + gap) - 1))
    per_line = math.ceil(most / math.ceil(most / per_line)) if most else 0  # Lines of equal length.
    width = max(2 * margin + column + per_line * (column + gap), round(340 * scale))

    lines = [
        (start == 0, picture, [_Facts(cell, column, scale) for cell in cells[start : start + per_line]])
        for picture, (_, cells) in zip(pictures, rows, strict=True)
        for start in range(0, max(1, len(cells)), max(1, per_line))
    ]
    heads = [max((facts.head_height for facts in line), default=0) for _, _, line in lines]
    tails = [max((facts.tail_height for facts in line), default=0) for _, _, line in lines]
    heights = [line[1].height + head + tail for line, head, tail in zip(lines, heads, tails, strict=True)]
    has_heat = any(cell.heat is not None for _, cells in rows for cell in cells)
    footer = Footer(caption, width - 2 * margin, scale, legend=has_heat)
    canvas = Canvas(width, 2 * margin + sum(heights) + gap * len(lines) + footer.height, scale)

    top = margin
    for number, (first, picture, line) in enumerate(lines):
        if first:
            if number:
                canvas.line(margin, top - gap // 2, width - margin, top - gap // 2, RULE)
            canvas.paste(picture, margin, top, column)
        for place, facts in enumerate(line, start=1):
            left = margin + place * (column + gap)
            heat = facts.cell.heat
            canvas.paste(picture if heat is None else overlay(picture, heat, alpha), left, top, column)
            facts.draw(canvas, left, top + picture.height, heads[number])
        top += heights[number] + gap
    footer.draw(canvas, margin, top)
    return canvas.image


def fit(image: Image.Image, height: int) -> Image.Image:
    """The image as RGB, scaled to a height; one wider than it is high is scaled to that width instead."""
    ratio = height / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


class _Facts:
    """What stands below a cell's image: a head (title, region, `unseen` mark) and a tail (bar, decision, threshold).

    The tails of one line of cells begin at the same height, so that their bars can be compared.
    """

    def __init__(self, cell: Cell, width: int, scale: float) -> None:
        self.cell, self.width = cell, width
        self.large, self.medium, self.small = 15 * scale, 12.5 * scale, 11 * scale
        self.title = wrap(cell.title, self.large, width, TITLE_LINES)
        self.has_region = bool(cell.region) or cell.seen is False
        self.threshold = self._threshold_lines()
        self.bar = (max(2, round(6 * scale)), max(1, round(3 * scale)))  # Thickness, and how far the tick stands out.
        self.space = round(5 * scale)

    def _threshold_lines(self) -> list[str]:
        if self.cell.threshold is None:
            return []
        number = f"threshold {self.cell.threshold:.2f}"
        source = f"({self.cell.threshold_source})" if self.cell.threshold_source else ""
        if text_width(f"{number} {source}", self.small) <= self.width:
            return [f"{number} {source}".strip()]
        return [fit_text(line, self.small, self.width) for line in (number, source) if line]

    @property
    def head_height(self) -> int:
        region = line_height(self.medium) if self.has_region else 0
        return self.space + len(self.title) * line_height(self.large) + region

    @property
    def tail_height(self) -> int:
        bar = self.bar[0] + 2 * self.bar[1] if self.cell.probability is not None else 0
        decision = line_height(self.medium) if self.cell.score is not None or self.present is not None else 0
        return self.space + bar + decision + len(self.threshold) * line_height(self.small)

    @property
    def present(self) -> bool | None:
        cell = self.cell
        if cell.score is not None and cell.threshold is not None:
            return cell.score > cell.threshold
        return None if cell.probability is None else cell.probability > 0.5

    def draw(self, canvas: Canvas, left: int, top: int, head_height: int) -> None:
        cell, right = self.cell, left + self.width
        y = top + self.space
        for line in self.title:
            canvas.text(left, y, line, self.large, INK)
            y += line_height(self.large)
        mark = canvas.pill(right, y, "unseen", self.small) if cell.seen is False else 0
        canvas.text(left, y, fit_text(cell.region, self.medium, self.width - mark - self.space), self.medium, MUTED)

        y = top + head_height + self.space
        colour = YES if self.present else NO
        if cell.probability is not None:
            thick, reach = self.bar
            y += reach
            canvas.box(left, y, self.width, thick, TRACK)
            canvas.box(left, y, round(self.width * min(1.0, max(0.0, cell.probability))), thick, colour)
            tick = max(1, round(thick / 3))
            canvas.box(left + (self.width - tick) // 2, y - reach, tick, thick + 2 * reach, INK)
            y += thick + reach
        if self.present is not None:
            canvas.text(left, y, "yes" if self.present else "no", self.medium, colour)
        if cell.score is not None:
            canvas.text_right(right, y, f"{cell.score:.2f}", self.medium, INK)
        if self.present is not None or cell.score is not None:
            y += line_height(self.medium)
        for line in self.threshold:
            canvas.text(left, y, line, self.small, FAINT)
            y += line_height(self.small)


class Footer:
    """The colour scale and a wrapped caption below a grid."""

    def __init__(self, caption: str, width: int, scale: float, *, legend: bool) -> None:
        self.size = 12 * scale
        self.legend = legend
        self.bar = (round(110 * scale), max(4, round(9 * scale)))
        self.lines = wrap(caption, self.size, width, 12)
        self.legend_height = round(22 * scale) if legend else 0
        self.height = self.legend_height + len(self.lines) * line_height(self.size) + round(10 * scale)

    def draw(self, canvas: Canvas, left: int, top: int) -> None:
        if self.legend:
            ramp = np.tile(np.linspace(0, 1, self.bar[0]), (self.bar[1], 1))
            x = left + canvas.text(left, top, "least", self.size, MUTED) + round(self.size / 2)
            middle = top + (line_height(self.size) - self.bar[1]) // 2
            canvas.image.paste(Image.fromarray(turbo(ramp)), (x, middle))
            canvas.text(x + self.bar[0] + round(self.size / 2), top, "most attention", self.size, MUTED)
            top += self.legend_height
        for line in self.lines:
            canvas.text(left, top, line, self.size, MUTED)
            top += line_height(self.size)


def token_grid(
    image: Image.Image,
    token_maps: np.ndarray,
    labels: Sequence[str],
    weights: np.ndarray | None = None,
    texts: Sequence[str] = (),
    *,
    cell_height: int = 256,
) -> Image.Image:
    """Each Mix Token's attention over one image, and below it a table of what each text takes from each token.

    Shapes: `token_maps` [K, h, w] in 0..1, `labels` K names, `weights` [Z, K] with rows that sum to 1, `texts` Z names.
    """
    if len(token_maps) != len(labels):
        raise ValueError(f"{len(token_maps)} token maps but {len(labels)} labels")
    cells = [Cell(heat=heat, title=label) for heat, label in zip(token_maps, labels, strict=True)]
    maps = attention_grid([(image, cells)], cell_height=cell_height)
    if weights is None:
        return maps
    if weights.shape != (len(texts), len(labels)):
        raise ValueError(f"weights of shape {weights.shape} for {len(texts)} texts and {len(labels)} tokens")
    table = _weight_table(weights, labels, texts, maps.width, max(LEAST_SCALE, cell_height / 256))
    page = Image.new("RGB", (max(maps.width, table.width), maps.height + table.height), "white")
    page.paste(maps, (0, 0))
    page.paste(table, (0, maps.height))
    return page


def _weight_table(
    weights: np.ndarray, labels: Sequence[str], texts: Sequence[str], width: int, scale: float
) -> Image.Image:
    """Rows of texts, columns of tokens; a cell's blue deepens with its share, the largest of the table is darkest."""
    size, margin, pad = 12 * scale, round(18 * scale), round(8 * scale)
    names = min(round(240 * scale), max((text_width(text, size) for text in texts), default=0)) + 2 * pad
    column = max(
        text_width("100%", size) + 2 * pad, min(round(90 * scale), (width - 2 * margin - names) // len(labels))
    )
    heads = [wrap(label, size, column - pad, 3) for label in labels]
    head_height = max(len(lines) for lines in heads) * line_height(size) + pad
    row = line_height(size) + pad
    note = wrap("Share of each text that comes from each token; a row sums to 100%.", size, width - 2 * margin, 3)
    note_height = len(note) * line_height(size) + pad
    canvas = Canvas(
        max(width, 2 * margin + names + column * len(labels)),
        note_height + head_height + row * len(texts) + margin,
        scale,
    )
    for number, line in enumerate(note):
        canvas.text(margin, number * line_height(size), line, size, MUTED)
    for place, lines in enumerate(heads):
        for number, line in enumerate(lines):
            x = margin + names + place * column + (column - text_width(line, size)) // 2
            canvas.text(x, note_height + number * line_height(size), line, size, MUTED)
    largest = max(float(weights.max(initial=0.0)), 1e-9)
    for number, text in enumerate(texts):
        top = note_height + head_height + number * row
        canvas.text(margin, top + pad // 2, fit_text(text, size, names - pad), size, INK)
        for place, share in enumerate(weights[number].tolist()):
            strength = min(1.0, max(0.0, share / largest))
            ground = tuple(round(255 + (deep - 255) * strength) for deep in DEEPEST)
            left = margin + names + place * column
            canvas.box(left, top, column - 1, row - 1, (ground[0], ground[1], ground[2]))
            words = f"{100 * share:.0f}%"
            ink = (255, 255, 255) if strength > 0.55 else INK
            canvas.text(left + (column - text_width(words, size)) // 2, top + pad // 2, words, size, ink)
    return canvas.image
