"""A white page for captions, bars and small pictures. Sizes and positions are in pixels."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import KeysView, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

INK = (17, 24, 39)
MUTED = (75, 85, 99)
FAINT = (107, 114, 128)
RULE = TRACK = (229, 231, 235)
YES = (15, 118, 110)
NO = (120, 128, 140)
MARK = (180, 83, 9)
MARK_GROUND = (254, 243, 199)

Colour = tuple[int, int, int]
# For letters that DejaVu Sans lacks, such as Chinese ones: files of Linux, macOS and Windows.
SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "simhei.ttf",
)

font = functools.cache(ImageFont.truetype)


@functools.cache
def fonts() -> list[tuple[str, KeysView[int]]]:
    """Font files, each with the code points that it can draw: DejaVu Sans, which comes with matplotlib, then `SYSTEM_FONTS`.

    Pillow's own font has 113 letters, and its space is 2 pixels wide at size 11.
    """
    import matplotlib  # takes longer to import than all else that a search needs
    from matplotlib.ft2font import FT2Font

    files = [str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))]
    for name in SYSTEM_FONTS:
        with contextlib.suppress(OSError):  # it is not installed
            files.append(str(ImageFont.truetype(name).path))
    return [(file, FT2Font(file).get_charmap().keys()) for file in files]


def line_height(size: int) -> int:
    """The distance from one line of text to the next."""
    return round(size * 1.3)


def text_width(text: str, size: int) -> int:
    text, file = drawable(text)
    return round(font(file, size).getlength(text))


def fit_text(text: str, size: int, width: int, *, keep_end: bool = False) -> str:
    """The text, or as much of its beginning as fits `width` with an ellipsis; '' if not even that fits. With `keep_end`
    the ellipsis stands in the middle: for file names."""
    text = drawable(text)[0]
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        end = kept // 2 if keep_end else 0
        line = text[: kept - end].rstrip() + "…" + text[len(text) - end :]
        if text_width(line, size) <= width:
            return line
    return ""


def wrap(text: str, size: int, width: int, most: int) -> list[str]:
    """At most `most` lines of at most `width`, broken at spaces or within a long word; an ellipsis if there is more text."""
    lines = [""]
    for word in drawable(text)[0].split():
        if lines[-1] and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a single letter counts as fitting
            if lines[-1] and text_width(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) > most:
        lines = [*lines[: most - 1], fit_text(" ".join(lines[most - 1 :]), size, width)]
    return [line for line in lines if line]


def drawable(text: str) -> tuple[str, str]:
    """A text as it can be drawn, and the file of the first font that has all its letters.

    Control characters, halves of surrogate pairs, and letters that no font has are written as escapes: \\x1b, \\u80cc.
    """
    complete = (font for font in fonts() if all(ord(letter) in font[1] for letter in text if letter.isprintable()))
    file, known = next(complete, fonts()[0])
    escaped = (letter.encode("unicode_escape").decode("ascii") for letter in text)
    drawn = zip(text, escaped, strict=True)
    return "".join(a if a.isprintable() and ord(a) in known else b for a, b in drawn), file


class Canvas:
    """A page of `width` x `height`; positions count from the top left, text is placed by its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: int, y: int, text: str, size: int, colour: Colour) -> int:
        """Draw one line; returns its width."""
        clean, file = drawable(text)
        self._draw.text((x, y), clean, fill=colour, font=font(file, size))
        return text_width(text, size)

    def lines(self, x: int, y: int, lines: Sequence[str], size: int, colour: Colour) -> None:
        """Draw lines one below the other."""
        for number, line in enumerate(lines):
            self.text(x, y + number * line_height(size), line, size, colour)

    def text_right(self, right: int, y: int, text: str, size: int, colour: Colour) -> None:
        """Draw one line that ends at `right`."""
        self.text(right - text_width(text, size), y, text, size, colour)

    def pill(self, right: int, y: int, text: str, size: int) -> int:
        """A marked word in a rounded box that ends at `right`; returns the box's width."""
        width, height = text_width(text, size) + size, line_height(size) + 1
        self._draw.rounded_rectangle((right - width, y, right - 1, y + height), radius=height // 2, fill=MARK_GROUND)
        self._draw.text(
            (right - width / 2, y + height / 2), text, fill=MARK, font=font(fonts()[0][0], size), anchor="mm"
        )
        return width

    def box(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        if width > 0 and height > 0:
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)

    def bar(self, x: int, y: int, width: int, height: int, share: float, colour: Colour) -> None:
        """A bar that is filled to `share` (0..1) of its width, with a tick at the middle: the threshold."""
        self.box(x, y, width, height, TRACK)
        self.box(x, y, round(width * min(1.0, max(0.0, share))), height, colour)
        self.box(x + (width - 2) // 2, y - 3, 2, height + 6, INK)

    def paste(self, picture: Image.Image, x: int, y: int, width: int) -> None:
        """Paste a picture in the middle of a column that begins at `x`."""
        self.image.paste(picture, (x + (width - picture.width) // 2, y))
