"""Metrics as functions of the threshold, exact at every threshold given: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics

GRID_POINTS = 81


@dataclass(frozen=True)
class Curve:
    """Metrics against thresholds; scores above a threshold are positive.

    Attributes:
        thresholds: ascending; evenly spaced ones, and those in `positions`.
        metrics: "precision", "recall", "mA" and "F1" at each of them, NaN where undefined.
        positions: position in `thresholds` of each threshold that has a source: {"val": 17, ...}.
    """

    thresholds: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
    positions: dict[str, int]


def common_curve(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], known: NDArray[np.bool_], threshold: float
) -> Curve:
    """`pedestrian_metrics` with one threshold for all attributes, of which `threshold` is the "global" one.

    Args:
        truth, scores, known: [N, Z].
    """
    exact = scores.astype(np.float64)
    thresholds = np.sort([*_grid(exact), threshold])
    rows = [pedestrian_metrics(truth, exact > value, known) for value in thresholds]
    names = {"precision": "Prec", "recall": "Recall", "mA": "mA", "F1": "F1"}
    metrics = {name: np.array([row[key] for row in rows]) for name, key in names.items()}
    return Curve(thresholds, metrics, {"global": int(np.searchsorted(thresholds, threshold))})


def attribute_curves(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    sources: Mapping[str, NDArray[np.float64]],
) -> list[Curve]:
    """`label_accuracy` of each attribute against its own threshold.

    Args:
        truth, scores, known: [N, Z]. sources: thresholds [Z] that are points of the curves.
    """
    exact, count = scores.astype(np.float64), scores.shape[1]
    thresholds = np.stack([*(np.full(count, value) for value in _grid(exact)), *sources.values()])
    rows = [label_accuracy(truth, exact > values, known) for values in thresholds]
    order = thresholds.argsort(axis=0)
    names = {"precision": "precision", "recall": "recall", "mA": "mA", "F1": "f1"}
    metrics = {name: np.take_along_axis(np.stack([row[key] for row in rows]), order, 0) for name, key in names.items()}
    thresholds = np.take_along_axis(thresholds, order, 0)
    return [
        Curve(
            thresholds[:, z],
            {name: values[:, z] for name, values in metrics.items()},
            {source: int(np.searchsorted(thresholds[:, z], values[z])) for source, values in sources.items()},
        )
        for z in range(count)
    ]


def _grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evenly spaced thresholds over the range of all scores except the outermost thousandths."""
    low, high = np.quantile(scores, (0.001, 0.999))
    return np.linspace(low, high, GRID_POINTS)
