"""Crops and attention as small WebP data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from focuscli.data.images import chunks, load_image
from focuscli.data.schema import Text
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.report.mistakes import Mistake
from focuscli.viz.explain import unit_range
from focuscli.viz.heat import overlay

HEIGHT = 168
WIDEST = 120
QUALITY = 62
BATCH = 8


def data_uri(image: Image.Image) -> str:
    """An image as a WebP data URI."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_mistakes(
    recognizer: Recognizer,
    mistakes: Sequence[Sequence[Mistake]],
    paths: Sequence[Path],
    texts: Sequence[Text],
    budget: int,
) -> list[list[Mistake]]:
    """The mistakes with their pictures, as many as fit `budget` bytes: every attribute's first ones before any's second.

    Args:
        mistakes: per attribute. paths: of the split's images. texts: per attribute.

    Raises:
        InputError: an image cannot be read.
    """
    pictured = [[*row] for row in mistakes]
    ranked = _ranked(mistakes)
    for chunk in chunks(len(ranked), BATCH):
        places = [ranked[number] for number in chunk]
        crops = [load_image(paths[mistakes[column][place].row]) for column, place in places]
        heat = recognizer.attention(crops, texts).heat
        for number, (column, place) in enumerate(places):
            small = _fit(crops[number])
            picture = (data_uri(small), data_uri(overlay(small, unit_range(heat[number, column]), 0.5)))
            budget -= sum(map(len, picture))
            if budget < 0:
                return pictured
            pictured[column][place] = replace(mistakes[column][place], picture=picture)
    return pictured


def _ranked(mistakes: Sequence[Sequence[Mistake]]) -> list[tuple[int, int]]:
    """Columns and places: the most confident error of each kind of every attribute, then the second ones, and so on."""
    ranked = []
    for column, row in enumerate(mistakes):
        ranks = {True: 0, False: 0}
        for place, mistake in enumerate(row):
            ranked.append((ranks[mistake.claimed], column, place))
            ranks[mistake.claimed] += 1
    return [(column, place) for _, column, place in sorted(ranked)]


def _fit(image: Image.Image) -> Image.Image:
    ratio = min(HEIGHT / image.height, WIDEST / image.width)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
