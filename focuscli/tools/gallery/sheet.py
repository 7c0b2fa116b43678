"""A contact sheet: the best crops of a search, with rank, scores and how far they are from the thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from focuscli.viz.canvas import FAINT, INK, MUTED, NO, RULE, TRACK, YES, Canvas, fit_text, line_height, text_width, wrap
from focuscli.viz.grid import Footer, fit

PAGE_WIDTH = 1600
COLUMN = 176


@dataclass(frozen=True)
class Mark:
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
    marks: Sequence[Mark]
    match: str = ""


def contact_sheet(entries: Sequence[Entry], *, title: str, caption: str = "", height: int = 224) -> Image.Image:
    """Crops in lines from the best on, each with its rank above and its texts below.

    `height` is that of the crops in pixels; text and spacing grow with it.
    """
    if not entries:
        raise ValueError("no entries to draw")
    scale = max(0.8, height / 224)
    column, gap, margin = round(COLUMN * scale), round(18 * scale), round(20 * scale)
    per_line = max(1, min(len(entries), (round(PAGE_WIDTH * scale) - 2 * margin + gap) // (column + gap)))
    per_line = math.ceil(len(entries) / math.ceil(len(entries) / per_line))
    width = 2 * margin + max(per_line * (column + gap) - gap, round(440 * scale))
    large, medium, small = 17 * scale, 13 * scale, 11 * scale
    heading = wrap(title, large, width - 2 * margin, 4)
    footer = Footer(caption, width - 2 * margin, scale, legend=False)
    most = max(len(entry.marks) for entry in entries)
    mark_height = 2 * line_height(small) + round(11 * scale)
    cell = line_height(medium) + height + line_height(small) + most * mark_height + gap
    lines = math.ceil(len(entries) / per_line)
    head = len(heading) * line_height(large) + gap
    canvas = Canvas(width, 2 * margin + head + lines * cell + footer.height, scale)
    y = margin
    for line in heading:
        canvas.text(margin, y, line, large, INK)
        y += line_height(large)
    for rank, entry in enumerate(entries):
        left = margin + rank % per_line * (column + gap)
        top = margin + head + rank // per_line * cell
        if rank and rank % per_line == 0:
            canvas.line(margin, top - gap // 2, width - margin, top - gap // 2, RULE)
        canvas.text(left, top, str(rank + 1), medium, INK)
        canvas.text_right(left + column, top, entry.match, medium, MUTED)
        top += line_height(medium)
        _picture(canvas, entry, left, top, column, height, small)
        top += height + round(2 * scale)
        canvas.text(left, top, _end_of(entry.name, small, column), small, FAINT)
        top += line_height(small)
        for mark in entry.marks:
            _mark(canvas, mark, left, top, column, small, scale)
            top += mark_height
    footer.draw(canvas, margin, margin + head + lines * cell)
    return canvas.image


def _picture(canvas: Canvas, entry: Entry, left: int, top: int, width: int, height: int, size: float) -> None:
    if entry.image is None:
        canvas.box(left, top, width, height, TRACK)
        canvas.text(left + round(size), top + height // 2, "not there any more", size, MUTED)
        return
    picture = fit(entry.image, height)
    if picture.width > width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))))
    canvas.image.paste(picture, (left, top + height - picture.height))


def _mark(canvas: Canvas, mark: Mark, left: int, top: int, width: int, size: float, scale: float) -> None:
    colour = MUTED if mark.good is None else YES if mark.good else NO
    canvas.text_right(left + width, top, mark.score, size, INK)
    room = width - text_width(mark.score, size) - round(6 * scale)
    canvas.text(left, top, fit_text(mark.text, size, room), size, colour)
    if mark.place is not None:
        y, thick, reach = top + line_height(size) + round(3 * scale), round(5 * scale), round(2 * scale)
        canvas.box(left, y, width, thick, TRACK)
        canvas.box(left, y, round(width * min(1.0, max(0.0, mark.place))), thick, colour)
        tick = max(1, round(2 * scale))
        canvas.box(left + (width - tick) // 2, y - reach, tick, thick + 2 * reach, INK)


def _end_of(name: str, size: float, width: int) -> str:
    """The name, or as much of its end as fits: that is where names differ."""
    if fit_text(name, size, width) == name:
        return name
    for start in range(1, len(name)):
        if fit_text("…" + name[start:], size, width) == "…" + name[start:]:
            return "…" + name[start:]
    return ""
