"""Attention maps as pictures: heat over crops with scores, and Mix Tokens one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from focuscli.inference.predict import TextDecision, probability
from focuscli.viz.canvas import FAINT, INK, MUTED, NO, RULE, YES, Canvas, fit_text, line_height, text_width, wrap
from focuscli.viz.heat import overlay, turbo

PAGE_WIDTH = 1600  # cells that do not fit go on in a further line
CROP_HEIGHT = 256
COLUMN = 128  # width of a cell, unless a crop is wider
GAP, MARGIN, SPACE = 16, 18, 5
LARGE, MEDIUM, SMALL = 15, 12, 11  # text
BAR, TICK = 6, 3  # height of a bar, and how far its tick stands out
TITLE_LINES = 3
DEEPEST = (23, 78, 166)  # the largest share of a table


@dataclass(frozen=True)
class Cell:
    """One text, or one Mix Token, over one image.

    Attributes:
        heat: [h, w] in 0..1, over the whole image whatever its size.
        title: the text, or the token's name.
        score, decision: of a text: its score in the model's own unit, its region and threshold.
    """

    heat: np.ndarray
    title: str
    score: float | None = None
    decision: TextDecision | None = None


def attention_grid(
    rows: Sequence[tuple[Image.Image, Sequence[Cell]]], *, alpha: float = 0.5, caption: str = ""
) -> Image.Image:
    """A row per image: the plain crop, then a cell per text; what does not fit the page's width goes on below.

    Args:
        alpha: strength of the heat over the crop, 0..1.
    """
    if not rows:
        raise ValueError("no rows to draw")
    pictures = [fit(image, CROP_HEIGHT) for image, _ in rows]
    column = max(COLUMN, *(picture.width for picture in pictures))
    most = max(len(cells) for _, cells in rows)
    per_line = max(1, min(most, PAGE_WIDTH // (column + GAP) - 1))
    per_line = math.ceil(most / math.ceil(most / per_line)) if most else 1  # lines of equal length
    width = max(2 * MARGIN + column + per_line * (column + GAP), 340)

    lines = [
        (start == 0, picture, [_Caption(cell, column) for cell in cells[start : start + per_line]])
        for picture, (_, cells) in zip(pictures, rows, strict=True)
        for start in range(0, max(1, len(cells)), per_line)
    ]
    heads = [max((caption.head_height for caption in line), default=0) for _, _, line in lines]
    tails = [max((caption.tail_height for caption in line), default=0) for _, _, line in lines]
    heights = [line[1].height + head + tail + GAP for line, head, tail in zip(lines, heads, tails, strict=True)]
    footer = Footer(caption, width - 2 * MARGIN, legend=most > 0)
    canvas = Canvas(width, 2 * MARGIN + sum(heights) + footer.height)

    top = MARGIN
    for number, (first, picture, captions) in enumerate(lines):
        if first:
            if number:
                canvas.line(MARGIN, top - GAP // 2, width - MARGIN, top - GAP // 2, RULE)
            canvas.paste(picture, MARGIN, top, column)
        for place, item in enumerate(captions, start=1):
            left = MARGIN + place * (column + GAP)
            canvas.paste(overlay(picture, item.cell.heat, alpha), left, top, column)
            item.draw(canvas, left, top + picture.height, heads[number])
        top += heights[number]
    footer.draw(canvas, MARGIN, top)
    return canvas.image


def fit(image: Image.Image, height: int) -> Image.Image:
    """The image as RGB, scaled to a height; one wider than it is high is scaled to that width instead."""
    ratio = height / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


class _Caption:
    """What stands below a cell's image: a head (title, region, `unseen` mark) and a tail (bar, decision, threshold).

    The tails of one line of cells begin at the same height, so that their bars can be compared.
    """

    def __init__(self, cell: Cell, width: int) -> None:
        self.cell, self._width = cell, width
        self._title = wrap(cell.title, LARGE, width, TITLE_LINES)
        self.head_height = SPACE + len(self._title) * line_height(LARGE)
        self.tail_height = SPACE
        self._threshold: list[str] = []
        if cell.score is None or cell.decision is None:
            return
        self.head_height += line_height(MEDIUM)
        self.tail_height += line_height(MEDIUM)
        if cell.decision.threshold is not None:
            parts = [f"threshold {cell.decision.threshold:.2f}", f"({cell.decision.threshold_source})"]
            one_line = text_width(" ".join(parts), SMALL) <= width
            self._threshold = [" ".join(parts)] if one_line else [fit_text(part, SMALL, width) for part in parts]
            self.tail_height += BAR + 2 * TICK + len(self._threshold) * line_height(SMALL)

    def draw(self, canvas: Canvas, left: int, top: int, head_height: int) -> None:
        cell, right = self.cell, left + self._width
        y = top + SPACE
        for line in self._title:
            canvas.text(left, y, line, LARGE, INK)
            y += line_height(LARGE)
        if cell.score is None or cell.decision is None:
            return
        mark = 0 if cell.decision.seen else canvas.pill(right, y, "unseen", SMALL)
        canvas.text(left, y, fit_text(cell.decision.text.region, MEDIUM, self._width - mark - SPACE), MEDIUM, MUTED)

        y = top + head_height + SPACE
        share, present = probability(cell.score, cell.decision.threshold), cell.decision.present(cell.score)
        colour = YES if present else NO
        if share is not None:
            canvas.bar(left, y + TICK, self._width, BAR, share, colour)
            y += BAR + 2 * TICK
            canvas.text(left, y, "yes" if present else "no", MEDIUM, colour)
        canvas.text_right(right, y, f"{cell.score:.2f}", MEDIUM, INK)
        y += line_height(MEDIUM)
        for line in self._threshold:
            canvas.text(left, y, line, SMALL, FAINT)
            y += line_height(SMALL)


class Footer:
    """The colour scale and a wrapped caption below a grid."""

    def __init__(self, caption: str, width: int, *, legend: bool) -> None:
        self._lines = wrap(caption, MEDIUM, width, 12)
        self._legend_height = 22 if legend else 0
        self.height = self._legend_height + len(self._lines) * line_height(MEDIUM) + 10

    def draw(self, canvas: Canvas, left: int, top: int) -> None:
        if self._legend_height:
            x = left + canvas.text(left, top, "least", MEDIUM, MUTED) + 6
            ramp = Image.fromarray(turbo(np.tile(np.linspace(0, 1, 110), (9, 1))))
            canvas.paste(ramp, x, top + (line_height(MEDIUM) - 9) // 2, 110)
            canvas.text(x + 116, top, "most attention", MEDIUM, MUTED)
        for number, line in enumerate(self._lines):
            canvas.text(left, top + self._legend_height + number * line_height(MEDIUM), line, MEDIUM, MUTED)


def token_grid(
    image: Image.Image, token_maps: np.ndarray, labels: Sequence[str], weights: np.ndarray, texts: Sequence[str]
) -> Image.Image:
    """Each Mix Token's attention over one image, and below it a table of what each text takes from each token.

    Args:
        token_maps: [K, h, w] in 0..1. labels: K names.
        weights: [Z, K], rows sum to 1. texts: Z names.
    """
    if len(token_maps) != len(labels):
        raise ValueError(f"{len(token_maps)} token maps but {len(labels)} labels")
    if weights.shape != (len(texts), len(labels)):
        raise ValueError(f"weights of shape {weights.shape} for {len(texts)} texts and {len(labels)} tokens")
    cells = [Cell(heat=heat, title=label) for heat, label in zip(token_maps, labels, strict=True)]
    maps = attention_grid([(image, cells)])
    table = _weight_table(weights, labels, texts, maps.width)
    page = Image.new("RGB", (max(maps.width, table.width), maps.height + table.height), "white")
    page.paste(maps, (0, 0))
    page.paste(table, (0, maps.height))
    return page


def _weight_table(weights: np.ndarray, labels: Sequence[str], texts: Sequence[str], width: int) -> Image.Image:
    """Rows of texts, columns of tokens; a cell's blue deepens with its share, the largest of the table is darkest."""
    pad, row = 8, line_height(MEDIUM) + 8
    names = min(240, max((text_width(text, MEDIUM) for text in texts), default=0)) + 2 * pad
    least = text_width("100%", MEDIUM) + 2 * pad
    column = max(least, min(90, (width - 2 * MARGIN - names) // len(labels)))
    heads = [wrap(label, MEDIUM, column - pad, 3) for label in labels]
    top = row + max(len(lines) for lines in heads) * line_height(MEDIUM) + pad
    canvas = Canvas(max(width, 2 * MARGIN + names + column * len(labels)), top + row * len(texts) + MARGIN)
    canvas.text(MARGIN, 0, "Share of each text that comes from each token; a row sums to 100%.", MEDIUM, MUTED)
    largest = max(float(weights.max(initial=0.0)), 1e-9)
    for number, text in enumerate(texts):
        canvas.text(MARGIN, top + number * row + pad // 2, fit_text(text, MEDIUM, names - pad), MEDIUM, INK)
    for place, lines in enumerate(heads):
        left = MARGIN + names + place * column
        for number, line in enumerate(lines):
            x = left + (column - text_width(line, MEDIUM)) // 2
            canvas.text(x, row + number * line_height(MEDIUM), line, MEDIUM, MUTED)
        for number, share in enumerate(weights[:, place].tolist()):
            y, strength = top + number * row, min(1.0, max(0.0, share / largest))
            red, green, blue = (round(255 + (deep - 255) * strength) for deep in DEEPEST)
            canvas.box(left, y, column - 1, row - 1, (red, green, blue))
            words, ink = f"{100 * share:.0f}%", (255, 255, 255) if strength > 0.55 else INK
            canvas.text(left + (column - text_width(words, MEDIUM)) // 2, y + pad // 2, words, MEDIUM, ink)
    return canvas.image
