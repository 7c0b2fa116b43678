"""Decision thresholds for similarity scores, chosen on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.metrics.attributes import FloatArray, known_columns

Criterion = Literal["mA", "F1", "Acc"]


@dataclass(frozen=True)
class Thresholds:
    """Decision thresholds of the evaluated attributes: by name, one for all of them, and their source. Those of `unchosen`,
    which lack a positive or a negative, are the one for all."""

    by_name: dict[str, float]
    overall: float
    source: str
    unchosen: tuple[str, ...] = ()

    @classmethod
    def choose(
        cls,
        names: Sequence[str],
        targets: NDArray,
        scores: NDArray,
        known: NDArray,
        *,
        criterion: Criterion,
        split: str,
    ) -> Thresholds:
        """The best ones on labelled images, N x Z in the order of the names; `split` says which images these are."""
        values = best_thresholds(targets, scores, known, criterion=criterion)
        overall = best_global_threshold(targets, scores, known, criterion=criterion)
        by_name = dict(zip(names, values.tolist(), strict=True))
        columns = zip(names, known_columns(targets, scores, known), strict=True)
        unchosen = tuple(name for name, (labels, _) in columns if not labels.any() or labels.all())
        return cls(by_name, overall, f"{split}, criterion {criterion}", unchosen)


def best_thresholds(
    targets: NDArray, scores: NDArray, known: NDArray | None = None, *, criterion: Criterion = "mA"
) -> FloatArray:
    """Per attribute, the threshold (present where score > threshold) that maximises the criterion.

    Every midpoint between neighbouring scores is a candidate; O(N log N) per attribute. Among equal candidates the
    middle one is taken. An attribute without a positive or without a negative gets the best global threshold.

    Args:
        targets: N x Z of 0/1. scores: N x Z. known: N x Z, False where a label is uncertain.
        criterion: "mA" balanced accuracy, "F1" of the positives, "Acc" their intersection over union.

    Returns:
        Z thresholds in the unit of the scores.
    """
    result = np.full(scores.shape[1], np.nan)
    for column, (labels, values) in enumerate(known_columns(targets, scores, known)):
        if labels.any() and not labels.all():
            result[column] = _best_threshold(labels, values, criterion)
    if np.isnan(result).any():
        result[np.isnan(result)] = best_global_threshold(targets, scores, known, criterion=criterion)
    return result


def best_global_threshold(
    targets: NDArray,
    scores: NDArray,
    known: NDArray | None = None,
    *,
    criterion: Criterion = "mA",
    candidates: int = 512,
) -> float:
    """One threshold for all attributes that maximises the mean of the criterion over them.

    Candidates are quantiles of all scores. Attributes that lack a class do not count; with none left, the median score.
    """
    if not scores.size:
        return 0.0
    grid = np.unique(np.quantile(scores.astype(np.float64), np.linspace(0, 1, candidates)))
    total, counted = np.zeros(len(grid)), 0
    for labels, values in known_columns(targets, scores, known):
        if labels.any() and not labels.all():
            positives, negatives = np.sort(values[labels]), np.sort(values[~labels])
            hits = len(positives) - np.searchsorted(positives, grid, side="right")
            false = len(negatives) - np.searchsorted(negatives, grid, side="right")
            total += _criterion(hits, false, len(positives), len(negatives), criterion)
            counted += 1
    return float(grid[int(total.argmax())]) if counted else float(np.median(scores))


def _best_threshold(labels: NDArray, values: FloatArray, criterion: Criterion) -> float:
    order = np.argsort(-values, kind="stable")
    labels, values = labels[order], values[order]
    # Cut k predicts the first k images as present; cuts between equal scores do not exist.
    hits = np.r_[0, np.cumsum(labels)]
    false = np.r_[0, np.cumsum(~labels)]
    quality = _criterion(hits, false, int(labels.sum()), int((~labels).sum()), criterion)
    quality[1:-1][values[1:] == values[:-1]] = -1.0
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    cut = int(best[len(best) // 2])
    margin = 1e-3 * max(1e-3, float(values[0] - values[-1]))
    upper = values[cut - 1] if cut > 0 else values[0] + 2 * margin
    lower = values[cut] if cut < len(values) else values[-1] - 2 * margin
    return float((upper + lower) / 2)


def _criterion(hits: NDArray, false: NDArray, positives: int, negatives: int, criterion: Criterion) -> FloatArray:
    if criterion == "mA":
        return (hits / positives + 1 - false / negatives) / 2
    if criterion == "F1":
        return 2 * hits / (positives + hits + false)
    return hits / (positives + false)
