"""The most confident errors: predictions whose score lies farthest on the wrong side of the threshold, with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from focuscli.data.images import load_image
from focuscli.evaluation.closed_set import LabelledSplit
from focuscli.inference.recognizer import Recognizer
from focuscli.viz.heat import overlay, unit_range

PICTURE_SIZE = (120, 168)  # Width and height that pictures fit into.


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
    thresholds: NDArray[np.float64],
    most: int,
) -> list[PredictionError]:
    """By attribute at most `most` false positives, then as many false negatives, the most confident first.

    Args:
        truth, scores, known: [N, Z]. thresholds: [Z]. Of equal margins the earlier image comes first.
    """
    errors = []
    for column, threshold in enumerate(thresholds.tolist()):
        values = scores[:, column].astype(np.float64)
        margins = np.abs(values - threshold) / (float(values.std()) or 1.0)
        # A score at the threshold itself is negative, as everywhere.
        predicted = values > threshold
        for positive in (True, False):
            rows = np.flatnonzero(known[:, column] & (predicted == positive) & (truth[:, column] != positive))
            best = rows[np.argsort(-margins[rows], kind="stable")][:most].tolist()
            errors += [
                PredictionError(row, column, positive, float(values[row]), threshold, float(margins[row]), rank)
                for rank, row in enumerate(best)
            ]
    return errors


def with_pictures(
    recognizer: Recognizer, errors: Sequence[PredictionError], split: LabelledSplit, max_bytes: int
) -> list[PredictionError]:
    """The errors whose pictures fit in `max_bytes`, with them: the first of every attribute before the second of any.

    Raises:
        InputError: an image cannot be read.
    """
    if not errors:
        return []
    ordered = sorted(errors, key=lambda error: error.rank)
    heat = recognizer.attention([split.paths[error.row] for error in ordered], split.texts).heat
    shown = []
    for error, maps in zip(ordered, heat, strict=True):
        crop = ImageOps.contain(load_image(split.paths[error.row]), PICTURE_SIZE, Image.Resampling.LANCZOS)
        picture = _data_uri(crop), _data_uri(overlay(crop, unit_range(maps[error.column])))
        max_bytes -= sum(map(len, picture))
        if max_bytes < 0:
            break
        shown.append(replace(error, picture=picture))
    return sorted(shown, key=lambda error: (error.column, not error.predicted_positive, error.rank))


def _data_uri(image: Image.Image) -> str:
    """An image as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=62, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
