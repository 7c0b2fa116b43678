"""A white page to draw captions, bars and small pictures on, with Pillow's own font at any size."""

from __future__ import annotations

import functools

from PIL import Image, ImageDraw, ImageFont

INK = (17, 24, 39)
MUTED = (75, 85, 99)
FAINT = (107, 114, 128)
RULE = (229, 231, 235)
TRACK = (229, 231, 235)
YES = (15, 118, 110)
NO = (120, 128, 140)
MARK = (180, 83, 9)
MARK_GROUND = (254, 243, 199)

Colour = tuple[int, int, int]


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's bundled font at a size in pixels."""
    return ImageFont.load_default(size=max(6, size))


def line_height(size: float) -> int:
    """Pixels from one line of text to the next."""
    return round(max(6, round(size)) * 1.3)


def text_width(text: str, size: float) -> int:
    return round(font(round(size)).getlength(_printable(text)))


def fit_text(text: str, size: float, width: int) -> str:
    """The text, or as much of its beginning as fits `width` pixels with an ellipsis; '' if not even that fits."""
    text = _printable(text)
    if text_width(text, size) <= width:
        return text
    for end in range(len(text) - 1, 0, -1):
        shortened = text[:end].rstrip() + "…"
        if text_width(shortened, size) <= width:
            return shortened
    return ""


def wrap(text: str, size: float, width: int, most: int) -> list[str]:
    """Lines of at most `width` pixels, broken at spaces, or within a word that is too long by itself.

    No more than `most` lines; the last one ends in an ellipsis where the text goes on.
    """
    lines: list[str] = []
    current = ""
    for word in _printable(text).split():
        joined = f"{current} {word}" if current else word
        if text_width(joined, size) <= width:
            current = joined
            continue
        if current:
            lines.append(current)
        *full, current = _pieces(word, size, width)
        lines += full
    if current:
        lines.append(current)
    if len(lines) > most:
        lines = [*lines[: most - 1], fit_text(" ".join(lines[most - 1 :]), size, width)]
    return lines


def _pieces(word: str, size: float, width: int) -> list[str]:
    """A word cut into pieces that fit; a single letter counts as fitting."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _printable(text: str) -> str:
    """Without what the font engine refuses (halves of surrogate pairs) and without control characters."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() or letter.isspace() else "?" for letter in clean)


class Canvas:
    """A page of `width` x `height` pixels; positions are pixels from the top left, text is placed by its top left."""

    def __init__(self, width: int, height: int, scale: float) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self.scale = scale
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: int, y: int, text: str, size: float, colour: Colour) -> int:
        """Draw one line; returns its width."""
        text = _printable(text)
        self._draw.text((x, y), text, fill=colour, font=font(round(size)))
        return text_width(text, size)

    def text_right(self, right: int, y: int, text: str, size: float, colour: Colour) -> None:
        self.text(right - text_width(text, size), y, text, size, colour)

    def pill(self, right: int, y: int, text: str, size: float) -> int:
        """A marked word in a rounded box that ends at `right`; returns the box's width."""
        pad = round(size * 0.5)
        width, height = text_width(text, size) + 2 * pad, line_height(size) + 1
        self._draw.rounded_rectangle((right - width, y, right - 1, y + height), radius=height // 2, fill=MARK_GROUND)
        self._draw.text((right - width / 2, y + height / 2), text, fill=MARK, font=font(round(size)), anchor="mm")
        return width

    def box(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        if width > 0 and height > 0:
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)

    def line(self, x0: int, y0: int, x1: int, y1: int, colour: Colour) -> None:
        self._draw.line((x0, y0, x1, y1), fill=colour, width=max(1, round(self.scale)))

    def paste(self, picture: Image.Image, x: int, y: int, width: int) -> None:
        """Paste a picture in the middle of a column that begins at `x`."""
        self.image.paste(picture, (x + (width - picture.width) // 2, y))
