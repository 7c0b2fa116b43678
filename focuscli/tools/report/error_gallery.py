"""The most confident errors: predictions whose score lies farthest on the wrong side of the threshold, with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from focuscli.data.images import chunks, load_image
from focuscli.data.schema import Text
from focuscli.inference.recognizer import Recognizer
from focuscli.viz.heat import overlay, unit_range

PICTURE_SIZE = (120, 168)  # Width and height that pictures fit into.
QUALITY = 62
BATCH = 8


@dataclass(frozen=True)
class PredictionError:
    """One wrong prediction.

    Attributes:
        row: position of the image in the split. column: of the attribute.
        predicted_positive: True for a false positive, False for a false negative.
        score, threshold: in the model's unit.
        margin: their distance in standard deviations of the attribute's scores, so that attributes compare.
        rank: 0 for the most confident error of its kind and attribute, 1 for the next, ...
        picture: data URIs of the crop and of the crop under its heat map; empty without crops.
    """

    row: int
    column: int
    image: str
    predicted_positive: bool
    score: float
    threshold: float
    margin: float
    rank: int
    picture: tuple[str, ...] = ()


def confident_errors(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    thresholds: Sequence[float],
    images: Sequence[str],
    most: int,
) -> list[list[PredictionError]]:
    """Per attribute at most `most` false positives, then as many false negatives, the most confident first.

    Args:
        truth, scores, known: [N, Z]. thresholds: Z. images: N names. Of equal margins the earlier image comes first.
    """
    errors = []
    for column, threshold in enumerate(thresholds):
        values = scores[:, column].astype(np.float64)
        margins = np.abs(values - threshold) / (float(values.std()) or 1.0)
        # A score at the threshold itself is negative, as everywhere.
        predicted = values > threshold
        chosen = []
        for positive in (True, False):
            rows = np.flatnonzero(known[:, column] & (predicted == positive) & (truth[:, column] != positive))
            best = rows[np.argsort(-margins[rows], kind="stable")][:most].tolist()
            chosen += [
                PredictionError(
                    row, column, images[row], positive, float(values[row]), threshold, float(margins[row]), rank
                )
                for rank, row in enumerate(best)
            ]
        errors.append(chosen)
    return errors


def with_pictures(
    recognizer: Recognizer,
    errors: Sequence[Sequence[PredictionError]],
    paths: Sequence[Path],
    texts: Sequence[Text],
    max_bytes: int,
) -> list[list[PredictionError]]:
    """The errors with pictures, as many as fit in `max_bytes`: the first of every attribute before the second of any.

    Args:
        errors: per attribute. paths: of the split's images. texts: one per attribute.

    Raises:
        InputError: an image cannot be read.
    """
    pictured = [[*row] for row in errors]
    places = [(error.rank, column, place) for column, row in enumerate(errors) for place, error in enumerate(row)]
    places.sort()
    for chunk in chunks(len(places), BATCH):
        wanted = [places[number][1:] for number in chunk]
        crops = [load_image(paths[errors[column][place].row]) for column, place in wanted]
        heat = recognizer.attention(crops, texts).heat
        for number, (column, place) in enumerate(wanted):
            small = _fit(crops[number])
            picture = (_data_uri(small), _data_uri(overlay(small, unit_range(heat[number, column]), 0.5)))
            max_bytes -= sum(map(len, picture))
            if max_bytes < 0:
                return pictured
            pictured[column][place] = replace(errors[column][place], picture=picture)
    return pictured


def _fit(image: Image.Image) -> Image.Image:
    ratio = min(PICTURE_SIZE[0] / image.width, PICTURE_SIZE[1] / image.height)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _data_uri(image: Image.Image) -> str:
    """An image as a WebP data URI."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
