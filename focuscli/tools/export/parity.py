"""How far the scores of an exported model are from those of the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.data.images import Pixels, squash
from focuscli.tools.export.card import Precision

FP32_TOLERANCE = 1e-4
"""Largest difference of a score in fp32, as a share of the largest score."""
INT8_TOLERANCE = 0.25
"""Root mean square difference in int8, as a share of the scores' standard deviation. Twice what a sound export has; a
wrong one is far above."""


@dataclass(frozen=True)
class Parity:
    """Two sets of scores of the same crops against the same texts.

    Attributes:
        source: which crops, in words. images, texts: their numbers.
        largest, mean: of the absolute difference. rms: root of its mean square.
        scale: the largest absolute score. spread: standard deviation of a text's scores over the crops, mean over texts.
        decisions, changed: scores with a threshold, and how many of them fall on the other side of it.
        mA: balanced accuracy of the original and of the export, in percent, where labels are known.
    """

    source: str
    images: int
    texts: int
    largest: float
    mean: float
    rms: float
    scale: float
    spread: float
    decisions: int
    changed: int
    mA: tuple[float, float] | None = None

    def problem(self, precision: Precision) -> str | None:
        """Why the export cannot pass for the original; None where it can."""
        if not np.isfinite(self.largest):
            return f"some scores on {self.source} are no finite numbers"
        if precision == "fp32":
            limit = FP32_TOLERANCE * self.scale
            if self.largest > limit:
                return f"scores on {self.source} differ by up to {self.largest:.3g}, where {limit:.3g} is allowed"
        elif self.share > INT8_TOLERANCE:
            return (
                f"int8 scores on {self.source} are off by {self.share:.3f} of their standard deviation (root mean "
                f"square), where {INT8_TOLERANCE:.3f} is allowed"
            )
        return None

    @property
    def share(self) -> float:
        """`rms` as a share of `spread`, in the digits that are shown: what is too large is also seen to be."""
        if not self.spread:
            return math.inf if self.rms else 0.0
        return round(self.rms / self.spread, 3)


def compare(
    source: str,
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    thresholds: NDArray[np.float64],
    mA: tuple[float, float] | None = None,
) -> Parity:
    """Compare scores [N, Z] of the original with those of the export.

    Args:
        thresholds: [Z], NaN for texts without one.
    """
    difference = np.abs(ours.astype(np.float64) - theirs)
    decided = np.isfinite(thresholds)
    changed = (ours > thresholds) != (theirs > thresholds)
    return Parity(
        source=source,
        images=len(ours),
        texts=ours.shape[1],
        largest=float(difference.max()),
        mean=float(difference.mean()),
        rms=float(np.sqrt(np.square(difference).mean())),
        scale=float(np.abs(ours).max()),
        spread=float(ours.std(axis=0, dtype=np.float64).mean()),
        decisions=int(decided.sum()) * len(ours),
        changed=int(changed[:, decided].sum()),
        mA=mA,
    )


def drawn_crops(count: int, size: tuple[int, int]) -> Pixels:
    """Drawn pedestrians [count, H, W, 3], always the same: there is something to compare on where no dataset is."""
    from focuscli.data.synthetic.drawing import draw
    from focuscli.data.synthetic.generate import cast_of
    from focuscli.data.synthetic.styles import style_of

    style = style_of("street")
    people: Sequence = [person for _, person in cast_of(count, 0, style.name)]
    images = [draw(person, style, rng=np.random.default_rng([0, n])).image for n, person in enumerate(people)]
    return np.stack([squash(image, size) for image in images])
