"""The most confident errors: cells whose score lies farthest on the wrong side of the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mistake:
    """One wrong cell.

    Attributes:
        row: position of the image in the split. column: of the attribute.
        claimed: True where the model says present and the label absent.
        score, threshold: in the model's unit.
        margin: their distance in standard deviations of the attribute's scores, so that attributes compare.
        picture: data URIs of the crop and of the crop under its heat; empty without crops.
    """

    row: int
    column: int
    image: str
    claimed: bool
    score: float
    threshold: float
    margin: float
    picture: tuple[str, ...] = field(default=())


def confident_mistakes(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    thresholds: Sequence[float],
    images: Sequence[str],
    most: int,
) -> list[list[Mistake]]:
    """Per attribute at most `most` false positives, then as many false negatives, the most confident first.

    Args:
        truth, scores, known: [N, Z]. thresholds: Z. images: N names. Of equal margins the earlier image comes first.
    """
    found = []
    for column, threshold in enumerate(thresholds):
        values = scores[:, column].astype(np.float64)
        spread = float(values.std()) or 1.0
        margins = (values - threshold) / spread
        # The threshold itself counts as absent, as everywhere.
        wrong = known[:, column] & ((values > threshold) != truth[:, column])
        chosen = []
        for claimed in (True, False):
            rows = np.flatnonzero(wrong & (truth[:, column] != claimed))
            for row in rows[np.argsort(-np.abs(margins[rows]), kind="stable")][:most].tolist():
                margin = abs(float(margins[row]))
                chosen.append(Mistake(row, column, images[row], claimed, float(values[row]), float(threshold), margin))
        found.append(chosen)
    return found
