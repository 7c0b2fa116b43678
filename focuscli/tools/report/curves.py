"""Figures as functions of the threshold, exact at every point that is given: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.metrics.attributes import pedestrian_metrics

GRID_POINTS = 81
FIGURES = ("mA", "Acc", "Prec", "Recall", "F1")


@dataclass(frozen=True)
class AttributeCurve:
    """One attribute's counts at thresholds; present is what scores above.

    Attributes:
        thresholds: ascending; the common grid and the marks.
        hits, false: true and false positives at each of them.
        positives, negatives: known labels of each kind.
        marks: position in `thresholds` of each threshold that has a source: {"val": 17, ...}.
    """

    name: str
    phrase: str
    thresholds: list[float]
    hits: list[int]
    false: list[int]
    positives: int
    negatives: int
    marks: dict[str, int]

    def figures(self, at: int) -> dict[str, float | None]:
        """mA, recall and precision at position `at`; None where undefined, a precision of nothing is 0."""
        recall = self.hits[at] / self.positives if self.positives else None
        specificity = 1 - self.false[at] / self.negatives if self.negatives else None
        claimed = self.hits[at] + self.false[at]
        return {
            "mA": None if recall is None or specificity is None else (recall + specificity) / 2,
            "recall": recall,
            "precision": self.hits[at] / claimed if claimed else 0.0,
        }


@dataclass(frozen=True)
class CommonCurve:
    """The figures of a split with one threshold for all attributes: {"mA": [...], ...} beside `thresholds`."""

    thresholds: list[float]
    figures: dict[str, list[float | None]]
    marks: dict[str, int]


def threshold_grid(scores: NDArray[np.floating], points: int = GRID_POINTS) -> NDArray[np.float64]:
    """Even thresholds over the range of all scores but their outermost thousandths."""
    low, high = np.quantile(scores.astype(np.float64), (0.001, 0.999))
    return np.linspace(low, high, points)


def attribute_curves(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    texts: Sequence[tuple[str, str]],
    marks: Mapping[str, Sequence[float]],
    grid: NDArray[np.float64],
) -> list[AttributeCurve]:
    """A curve per attribute.

    Args:
        truth, scores, known: [N, Z]. texts: name and phrase of each of the Z attributes.
        marks: thresholds by their source, Z each; each becomes a point of its attribute's curve.
    """
    return [
        _curve(
            truth[known[:, column], column],
            scores[known[:, column], column].astype(np.float64),
            texts[column],
            {source: float(values[column]) for source, values in marks.items()},
            grid,
        )
        for column in range(truth.shape[1])
    ]


def common_curve(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    marks: Mapping[str, float],
    grid: NDArray[np.float64],
) -> CommonCurve:
    """The figures of the literature (per-image Acc, Prec, Recall, F1; mA over attributes) at each common threshold."""
    thresholds, places = _merge(grid, marks)
    rows = [pedestrian_metrics(truth, scores > threshold, known) for threshold in thresholds]
    return CommonCurve(
        thresholds.tolist(),
        {name: [value if np.isfinite(value := row[name]) else None for row in rows] for name in FIGURES},
        places,
    )


def _curve(
    labels: NDArray[np.bool_],
    values: NDArray[np.float64],
    text: tuple[str, str],
    marks: Mapping[str, float],
    grid: NDArray[np.float64],
) -> AttributeCurve:
    thresholds, places = _merge(grid, marks)
    positives, negatives = np.sort(values[labels]), np.sort(values[~labels])
    return AttributeCurve(
        name=text[0],
        phrase=text[1],
        thresholds=thresholds.tolist(),
        hits=(len(positives) - np.searchsorted(positives, thresholds, side="right")).tolist(),
        false=(len(negatives) - np.searchsorted(negatives, thresholds, side="right")).tolist(),
        positives=len(positives),
        negatives=len(negatives),
        marks=places,
    )


def _merge(grid: NDArray[np.float64], marks: Mapping[str, float]) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Grid and marks as one ascending list without repetitions, and where each mark stands in it."""
    thresholds = np.unique(np.concatenate([grid, np.array([*marks.values()], dtype=np.float64)]))
    return thresholds, {source: int(np.searchsorted(thresholds, value)) for source, value in marks.items()}
