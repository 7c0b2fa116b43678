"""A contact sheet: the best crops of a search, with rank, scores and how far they are from the thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from focuscli.viz.canvas import FAINT, INK, MUTED, NO, RULE, TRACK, YES, Canvas, fit_text, line_height, text_width, wrap
from focuscli.viz.grid import Footer, fit

PAGE_WIDTH = 1600
COLUMN, GAP, MARGIN, HEIGHT = 176, 18, 20, 224
LARGE, MEDIUM, SMALL = 17, 13, 11


@dataclass(frozen=True)
class Bar:
    """A text beside a crop.

    Attributes:
        text: as it was asked for. score: as it is to be shown. place: in 0..1 with the threshold at 0.5; None: no bar.
        good: whether the crop fits what was asked; None without a threshold.
    """

    text: str
    score: str
    place: float | None
    good: bool | None


@dataclass(frozen=True)
class Entry:
    """A crop of the sheet; `image` is None where its file cannot be read any more, `match` is what it is ordered by."""

    image: Image.Image | None
    name: str
    bars: Sequence[Bar]
    match: str = ""


def contact_sheet(entries: Sequence[Entry], *, title: str, caption: str = "") -> Image.Image:
    """Crops in lines from the best on, each with its rank above and its texts below."""
    if not entries:
        raise ValueError("no entries to draw")
    per_line = max(1, min(len(entries), (PAGE_WIDTH - 2 * MARGIN + GAP) // (COLUMN + GAP)))
    per_line = math.ceil(len(entries) / math.ceil(len(entries) / per_line))
    width = 2 * MARGIN + max(per_line * (COLUMN + GAP) - GAP, 440)
    heading = wrap(title, LARGE, width - 2 * MARGIN, 4)
    footer = Footer(caption, width - 2 * MARGIN, legend=False)
    most = max(len(entry.bars) for entry in entries)
    bar_height = 2 * line_height(SMALL) + 11
    cell = line_height(MEDIUM) + HEIGHT + line_height(SMALL) + most * bar_height + GAP
    lines = math.ceil(len(entries) / per_line)
    head = len(heading) * line_height(LARGE) + GAP
    canvas = Canvas(width, 2 * MARGIN + head + lines * cell + footer.height)
    y = MARGIN
    for line in heading:
        canvas.text(MARGIN, y, line, LARGE, INK)
        y += line_height(LARGE)
    for rank, entry in enumerate(entries):
        left = MARGIN + rank % per_line * (COLUMN + GAP)
        top = MARGIN + head + rank // per_line * cell
        if rank and rank % per_line == 0:
            canvas.line(MARGIN, top - GAP // 2, width - MARGIN, top - GAP // 2, RULE)
        canvas.text(left, top, str(rank + 1), MEDIUM, INK)
        canvas.text_right(left + COLUMN, top, entry.match, MEDIUM, MUTED)
        top += line_height(MEDIUM)
        _picture(canvas, entry, left, top)
        top += HEIGHT + 2
        canvas.text(left, top, _end_of(entry.name, SMALL, COLUMN), SMALL, FAINT)
        top += line_height(SMALL)
        for bar in entry.bars:
            _bar(canvas, bar, left, top)
            top += bar_height
    footer.draw(canvas, MARGIN, MARGIN + head + lines * cell)
    return canvas.image


def _picture(canvas: Canvas, entry: Entry, left: int, top: int) -> None:
    if entry.image is None:
        canvas.box(left, top, COLUMN, HEIGHT, TRACK)
        canvas.text(left + SMALL, top + HEIGHT // 2, "no longer there", SMALL, MUTED)
        return
    picture = fit(entry.image, HEIGHT)
    if picture.width > COLUMN:
        picture = picture.resize((COLUMN, max(1, round(picture.height * COLUMN / picture.width))))
    canvas.image.paste(picture, (left, top + HEIGHT - picture.height))


def _bar(canvas: Canvas, bar: Bar, left: int, top: int) -> None:
    colour = MUTED if bar.good is None else YES if bar.good else NO
    canvas.text_right(left + COLUMN, top, bar.score, SMALL, INK)
    room = COLUMN - text_width(bar.score, SMALL) - 6
    canvas.text(left, top, fit_text(bar.text, SMALL, room), SMALL, colour)
    if bar.place is not None:
        canvas.bar(left, top + line_height(SMALL) + 3, COLUMN, 5, bar.place, colour)


def _end_of(name: str, size: int, width: int) -> str:
    """The name, or as much of its end as fits: that is where names differ."""
    if fit_text(name, size, width) == name:
        return name
    for start in range(1, len(name)):
        if fit_text("…" + name[start:], size, width) == "…" + name[start:]:
            return "…" + name[start:]
    return ""
