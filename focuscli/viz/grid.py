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
PER_LINE = PAGE_WIDTH // (COLUMN + GAP) - 1  # cells beside an upright crop
PAGE_LINES = 10  # of a page: about 4,000 pixels
EACH_ITS_OWN = ("least", "most attention, each panel on its own scale")
SCORES = 2 * line_height(MEDIUM) + BAR + 2 * TICK + 2 * line_height(SMALL)  # of a region, bar, score and threshold
DEEPEST = (23, 78, 166)  # the largest share of a table


@dataclass(frozen=True)
class Cell:
    """One text, or one Mix Token, over one image: heat [h, w] in 0..1 over all of it; score and decision only of a text."""

    heat: np.ndarray
    title: str
    score: float | None = None
    decision: TextDecision | None = None


@dataclass(frozen=True)
class Row:
    """An image and its cells; below it stands the file's name, which only the first row of an image has, and the model."""

    image: Image.Image
    cells: Sequence[Cell]
    name: str = ""
    model: Sequence[str] = ()


def paginate(images: int, models: int, texts: int) -> list[list[tuple[int, range]]]:
    """The blocks of each page: an image's position and the texts that are shown with it, in a row for each model.

    A block that would not fit a page is divided by texts.
    """
    step = max(1, PAGE_LINES // models) * PER_LINE
    step = math.ceil(texts / math.ceil(texts / step))
    blocks = [(image, range(texts)[first : first + step]) for image in range(images) for first in range(0, texts, step)]
    most = max(1, PAGE_LINES // (models * math.ceil(min(texts, step) / PER_LINE)))
    per_page = math.ceil(len(blocks) / math.ceil(len(blocks) / most))  # pages of equal length
    return [blocks[first : first + per_page] for first in range(0, len(blocks), per_page)]


def attention_grid(
    rows: Sequence[Row],
    *,
    alpha: float = 0.5,
    scale: tuple[str, str] = EACH_ITS_OWN,
    captions: Sequence[str] = (),
) -> Image.Image:
    """The plain crop of each row, then its cells; what does not fit the page's width goes on below.

    Args:
        alpha: strength of the heat over the crop, 0..1. scale: the words at the two ends of the colours.
        captions: paragraphs at the foot.
    """
    pictures = [fit(row.image, CROP_HEIGHT) for row in rows]
    column = max(COLUMN, *(picture.width for picture in pictures))
    most = max(1, *(len(row.cells) for row in rows))
    per_line = max(1, min(most, PAGE_WIDTH // (column + GAP) - 1))
    per_line = math.ceil(most / math.ceil(most / per_line))  # lines of equal length
    width = max(2 * MARGIN + column + per_line * (column + GAP), 340)
    # Titles are given as many lines as the longest needs, so that the bars of a line can be compared.
    cells = [cell for row in rows for cell in row.cells]
    title = max((len(wrap(cell.title, LARGE, column, TITLE_LINES)) for cell in cells), default=0) * line_height(LARGE)
    labels = [[line for text in (row.name, *row.model) for line in _two_lines(text, column)] for row in rows]
    beside = max(map(len, labels)) * line_height(SMALL)
    below = max(beside, title + SPACE + (SCORES if any(cell.decision for cell in cells) else 0)) + SPACE + GAP
    lines = [
        (picture, start, row, label)
        for picture, row, label in zip(pictures, rows, labels, strict=True)
        for start in range(0, max(1, len(row.cells)), per_line)
    ]
    footer = [line for caption in captions for line in wrap(caption, MEDIUM, width - 2 * MARGIN, 12)]
    legend = wrap(scale[1], MEDIUM, width - 2 * MARGIN - 122 - text_width(scale[0], MEDIUM), 3)
    footer_top = max(LEGEND, len(legend) * line_height(MEDIUM) + SPACE)
    height = sum(line[0].height + below for line in lines) + footer_top + len(footer) * line_height(MEDIUM)
    canvas = Canvas(width, 2 * MARGIN + height)
    y = MARGIN
    for picture, start, row, label in lines:
        if start == 0:
            if y > MARGIN and row.name:
                canvas.box(MARGIN, y - GAP // 2, width - 2 * MARGIN, 1, RULE)
            canvas.paste(picture, MARGIN, y, column)
            canvas.lines(MARGIN, y + picture.height + SPACE, label, SMALL, MUTED)
        for place, cell in enumerate(row.cells[start : start + per_line], start=1):
            left = MARGIN + place * (column + GAP)
            canvas.paste(overlay(picture, cell.heat, alpha), left, y, column)
            _draw_caption(canvas, cell, left, y + picture.height + SPACE, column, title)
        y += picture.height + below
    x = MARGIN + canvas.text(MARGIN, y, scale[0], MEDIUM, MUTED) + 6
    ramp = Image.fromarray(turbo(np.tile(np.linspace(0, 1, 110), (9, 1))))
    canvas.paste(ramp, x, y + (line_height(MEDIUM) - 9) // 2, 110)
    canvas.lines(x + 116, y, legend, MEDIUM, MUTED)
    canvas.lines(MARGIN, y + footer_top, footer, MEDIUM, MUTED)
    return canvas.image


def _two_lines(text: str, width: int) -> list[str]:
    """A name in at most two lines, a long one shortened in the middle."""
    room = 2 * (width - SMALL)  # a line that is broken between letters may lose one
    return wrap(fit_text(text, SMALL, room, keep_end=True), SMALL, width, 2)


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


def token_grid(maps: Image.Image, labels: Sequence[str], weights: np.ndarray, texts: Sequence[str]) -> Image.Image:
    """An `attention_grid` of one image's Mix Tokens, and below it a table of what each text takes from each token.

    Args:
        labels: K names. weights: [Z, K], rows sum to 1. texts: Z names.
    """
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


def unit_range(heat: np.ndarray, span: tuple[float, float] | None = None) -> np.ndarray:
    """A map scaled linearly so that its smallest value, or the first of `span`, is 0, and its largest 1; all 0 if flat."""
    low, high = span or (float(heat.min()), float(heat.max()))
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def upsample(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] in 0..1, bicubically upsampled to `size` (width, height) and clipped to 0..1; NaN counts as 0."""
    finite = np.nan_to_num(np.asarray(heat, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(np.asarray(Image.fromarray(finite).resize(size, Image.Resampling.BICUBIC)), 0, 1)


def overlay(image: Image.Image, heat: np.ndarray, alpha: float = 0.5) -> Image.Image:
    """The image with the heat's colours over it: alpha 0 is the image alone, 1 the colours alone."""
    colours = Image.fromarray(turbo(upsample(heat, image.size)))
    return Image.blend(image.convert("RGB"), colours, alpha)
