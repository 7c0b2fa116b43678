"""Metrics as functions of the threshold, exact at every threshold given: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.metrics.attributes import pedestrian_metrics

GRID_POINTS = 81
METRICS = ("mA", "Acc", "Prec", "Recall", "F1")


@dataclass(frozen=True)
class AttributeCurve:
    """One attribute's counts at thresholds; scores above a threshold are positive.

    Attributes:
        thresholds: ascending; the common grid and the thresholds in `positions`.
        true_positives, false_positives: counts at each of them.
        positives, negatives: known labels of each kind.
        positions: position in `thresholds` of each threshold that has a source: {"val": 17, ...}.
    """

    phrase: str
    region: str
    thresholds: list[float]
    true_positives: list[int]
    false_positives: list[int]
    positives: int
    negatives: int
    positions: dict[str, int]

    @property
    def positive_rate(self) -> float | None:
        """Share of positives among the known labels; None if there are none."""
        known = self.positives + self.negatives
        return self.positives / known if known else None

    def metrics(self, position: int) -> dict[str, float | None]:
        """mA, recall and precision at a position of `thresholds`; None where undefined."""
        hits, wrong = self.true_positives[position], self.false_positives[position]
        recall = hits / self.positives if self.positives else None
        specificity = 1 - wrong / self.negatives if self.negatives else None
        return {
            "mA": None if recall is None or specificity is None else (recall + specificity) / 2,
            "recall": recall,
            "precision": hits / (hits + wrong) if hits + wrong else None,
        }


@dataclass(frozen=True)
class CommonCurve:
    """The metrics of a split with one threshold for all attributes: {"mA": [...], ...} at each of `thresholds`."""

    thresholds: list[float]
    metrics: dict[str, list[float | None]]
    positions: dict[str, int]


def threshold_grid(scores: NDArray[np.floating], points: int = GRID_POINTS) -> NDArray[np.float64]:
    """Evenly spaced thresholds over the range of all scores except the outermost thousandths."""
    low, high = np.quantile(scores.astype(np.float64), (0.001, 0.999))
    return np.linspace(low, high, points)


def attribute_curve(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    phrase: str,
    region: str,
    sources: Mapping[str, float],
    grid: NDArray[np.float64],
) -> AttributeCurve:
    """The curve of one attribute over its known labels; truth and scores are [N], each source's threshold is a point."""
    values = scores.astype(np.float64)
    thresholds, positions = _merge(grid, sources)
    positives, negatives = np.sort(values[truth]), np.sort(values[~truth])
    return AttributeCurve(
        phrase=phrase,
        region=region,
        thresholds=thresholds.tolist(),
        true_positives=(len(positives) - np.searchsorted(positives, thresholds, side="right")).tolist(),
        false_positives=(len(negatives) - np.searchsorted(negatives, thresholds, side="right")).tolist(),
        positives=len(positives),
        negatives=len(negatives),
        positions=positions,
    )


def common_curve(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    sources: Mapping[str, float],
    grid: NDArray[np.float64],
) -> CommonCurve:
    """The metrics of `pedestrian_metrics` at each common threshold; truth, scores and known are [N, Z]."""
    thresholds, positions = _merge(grid, sources)
    rows = [pedestrian_metrics(truth, scores > threshold, known) for threshold in thresholds]
    return CommonCurve(
        thresholds.tolist(),
        {name: [value if np.isfinite(value := row[name]) else None for row in rows] for name in METRICS},
        positions,
    )


def _merge(grid: NDArray[np.float64], sources: Mapping[str, float]) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Grid and sources as one ascending list without repetitions, and the position of each source in it."""
    thresholds = np.unique(np.concatenate([grid, np.array([*sources.values()], dtype=np.float64)]))
    return thresholds, {source: int(np.searchsorted(thresholds, value)) for source, value in sources.items()}
