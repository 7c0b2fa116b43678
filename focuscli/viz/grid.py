"""Attention maps as pictures: heat over crops with scores, and Mix Tokens one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from focuscli.inference.predict import TextDecision, probability
from focuscli.viz.canvas import FAINT, INK, MUTED, NO, RULE, YES, Canvas, fit_text, line_height, text_width, wrap

PAGE_WIDTH = 1600  # cells that do not fit go on in a further line
CROP_HEIGHT = 256
COLUMN = 128  # width of a cell, unless a crop is wider
GAP, MARGIN, SPACE = 16, 18, 5
LARGE, MEDIUM, SMALL = 15, 12, 11  # text
BAR, TICK = 6, 3  # height of a bar, and how far its tick stands out
TITLE_LINES, LEGEND = 3, 22
SCORES = 2 * line_height(MEDIUM) + BAR + 2 * TICK + 2 * line_height(SMALL)  # of a region, bar, score and threshold
DEEPEST = (23, 78, 166)  # the largest share of a table


@dataclass(frozen=True)
class Cell:
    """One text, or one Mix Token, over one image: heat [h, w] in 0..1 over all of it; score and decision only of a text."""

    heat: np.ndarray
    title: str
    score: float | None = None
    decision: TextDecision | None = None


def attention_grid(
    rows: Sequence[tuple[Image.Image, Sequence[Cell]]], *, alpha: float = 0.5, caption: str = ""
) -> Image.Image:
    """A row per image: the plain crop, then a cell per text; what does not fit the page's width goes on below. `alpha` is the
    strength of the heat over the crop, 0..1."""
    pictures = [fit(image, CROP_HEIGHT) for image, _ in rows]
    column = max(COLUMN, *(picture.width for picture in pictures))
    most = max(1, *(len(cells) for _, cells in rows))
    per_line = max(1, min(most, PAGE_WIDTH // (column + GAP) - 1))
    per_line = math.ceil(most / math.ceil(most / per_line))  # lines of equal length
    width = max(2 * MARGIN + column + per_line * (column + GAP), 340)
    # Titles are given as many lines as the longest needs, so that the bars of a line can be compared.
    cells = [cell for _, row in rows for cell in row]
    title = max((len(wrap(cell.title, LARGE, column, TITLE_LINES)) for cell in cells), default=0) * line_height(LARGE)
    below = title + 2 * SPACE + (SCORES if any(cell.decision for cell in cells) else 0) + GAP
    lines = [
        (picture, start, row[start : start + per_line])
        for picture, (_, row) in zip(pictures, rows, strict=True)
        for start in range(0, max(1, len(row)), per_line)
    ]
    footer = wrap(caption, MEDIUM, width - 2 * MARGIN, 12)
    height = sum(picture.height + below for picture, _, _ in lines) + LEGEND + len(footer) * line_height(MEDIUM)
    canvas = Canvas(width, 2 * MARGIN + height)
    y = MARGIN
    for picture, start, row in lines:
        if start == 0:
            if y > MARGIN:
                canvas.box(MARGIN, y - GAP // 2, width - 2 * MARGIN, 1, RULE)
            canvas.paste(picture, MARGIN, y, column)
        for place, cell in enumerate(row, start=1):
            left = MARGIN + place * (column + GAP)
            canvas.paste(overlay(picture, cell.heat, alpha), left, y, column)
            _draw_caption(canvas, cell, left, y + picture.height + SPACE, column, title)
        y += picture.height + below
    x = MARGIN + canvas.text(MARGIN, y, "least", MEDIUM, MUTED) + 6
    ramp = Image.fromarray(turbo(np.tile(np.linspace(0, 1, 110), (9, 1))))
    canvas.paste(ramp, x, y + (line_height(MEDIUM) - 9) // 2, 110)
    canvas.text(x + 116, y, "most attention", MEDIUM, MUTED)
    canvas.lines(MARGIN, y + LEGEND, footer, MEDIUM, MUTED)
    return canvas.image


def _draw_caption(canvas: Canvas, cell: Cell, left: int, y: int, width: int, title: int) -> None:
    """What stands below a cell's image: title, region, `unseen` mark, bar, decision and threshold."""
    canvas.lines(left, y, wrap(cell.title, LARGE, width, TITLE_LINES), LARGE, INK)
    if cell.score is None or cell.decision is None:
        return
    y += title
    mark = 0 if cell.decision.seen else canvas.pill(left + width, y, "unseen", SMALL)
    canvas.text(left, y, fit_text(cell.decision.text.region, MEDIUM, width - mark - SPACE), MEDIUM, MUTED)
    y += line_height(MEDIUM) + SPACE
    share, present = probability(cell.score, cell.decision.threshold), cell.decision.present(cell.score)
    if share is not None:
        colour = YES if present else NO
        canvas.bar(left, y + TICK, width, BAR, share, colour)
        y += BAR + 2 * TICK
        canvas.text(left, y, "yes" if present else "no", MEDIUM, colour)
        words = f"threshold {cell.decision.threshold:.2f} ({cell.decision.threshold_source})"
        canvas.lines(left, y + line_height(MEDIUM), wrap(words, SMALL, width, 2), SMALL, FAINT)
    canvas.text_right(left + width, y, f"{cell.score:.2f}", MEDIUM, INK)


def fit(image: Image.Image, height: int) -> Image.Image:
    """The image as RGB, scaled to a height; one wider than it is high is scaled to that width instead."""
    ratio = height / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def token_grid(
    image: Image.Image, token_maps: np.ndarray, labels: Sequence[str], weights: np.ndarray, texts: Sequence[str]
) -> Image.Image:
    """Each Mix Token's attention over one image, and below it a table of what each text takes from each token.

    Args:
        token_maps: [K, h, w] in 0..1. labels: K names.
        weights: [Z, K], rows sum to 1. texts: Z names.
    """
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
    names = min(240, max(text_width(text, MEDIUM) for text in texts)) + 2 * pad
    least = text_width("100%", MEDIUM) + 2 * pad
    column = max(least, min(90, (width - 2 * MARGIN - names) // len(labels)))
    heads = [wrap(label, MEDIUM, column - pad, 3) for label in labels]
    top = row + max(len(lines) for lines in heads) * line_height(MEDIUM) + pad
    canvas = Canvas(max(width, 2 * MARGIN + names + column * len(labels)), top + row * len(texts) + MARGIN)
    canvas.text(MARGIN, 0, "Share of each text that comes from each token; a row sums to 100%.", MEDIUM, MUTED)
    for number, text in enumerate(texts):
        canvas.text(MARGIN, top + number * row + pad // 2, fit_text(text, MEDIUM, names - pad), MEDIUM, INK)
    for place, lines in enumerate(heads):
        left = MARGIN + names + place * column
        canvas.lines(left + pad // 2, row, lines, MEDIUM, MUTED)
        for number, share in enumerate(weights[:, place].tolist()):
            y, strength = top + number * row, share / max(float(weights.max()), 1e-9)
            red, green, blue = (round(255 + (deep - 255) * strength) for deep in DEEPEST)
            canvas.box(left, y, column - 1, row - 1, (red, green, blue))
            ink = (255, 255, 255) if strength > 0.55 else INK
            canvas.text(left + pad // 2, y + pad // 2, f"{100 * share:.0f}%", MEDIUM, ink)
    return canvas.image


def turbo(values: np.ndarray) -> np.ndarray:
    """Colours of matplotlib's colour map "turbo", uint8 [..., 3], of values in 0..1 [...]; outside values are clipped."""
    colours: np.ndarray = matplotlib.colormaps["turbo"](np.clip(values, 0.0, 1.0), bytes=True)
    return colours[..., :3]


def unit_range(heat: np.ndarray) -> np.ndarray:
    """A map scaled linearly so that its smallest value is 0 and its largest 1; all 0 if it is flat."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def upsample(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] in 0..1, bicubically upsampled to `size` (width, height) and clipped to 0..1; NaN counts as 0."""
    finite = np.nan_to_num(np.asarray(heat, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(np.asarray(Image.fromarray(finite).resize(size, Image.Resampling.BICUBIC)), 0, 1)


def overlay(image: Image.Image, heat: np.ndarray, alpha: float = 0.5) -> Image.Image:
    """The image with the heat's colours over it: alpha 0 is the image alone, 1 the colours alone."""
    colours = Image.fromarray(turbo(upsample(heat, image.size)))
    return Image.blend(image.convert("RGB"), colours, alpha)
