"""Metrics as functions of the threshold, exact at every threshold given: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def threshold_curves(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    sources: Mapping[str, NDArray[np.float64]],
) -> tuple[Curve, list[Curve]]:
    """`pedestrian_metrics` against one threshold for all attributes, and `label_accuracy` of each against its own.

    Args:
        truth, scores, known: [N, Z].
        sources: thresholds [Z] by source, which are points of the curves; "global" has one value, that of the first curve.
    """
    exact = scores.astype(np.float64)
    low, high = np.quantile(exact, (0.001, 0.999))
    grid = np.linspace(low, high, GRID_POINTS)
    points = np.stack([*np.broadcast_to(grid[:, None], (GRID_POINTS, truth.shape[1])), *sources.values()])
    overall = [pedestrian_metrics(truth, exact > values, known) for values in [*grid, sources["global"]]]
    rows = [label_accuracy(truth, exact > values, known) for values in points]
    names = {"precision": "Prec", "recall": "Recall", "mA": "mA", "F1": "F1"}
    common = {name: np.array([row[key] for row in overall]) for name, key in names.items()}
    names = {"precision": "precision", "recall": "recall", "mA": "mA", "F1": "f1"}
    own = {name: np.stack([row[key] for row in rows], axis=1) for name, key in names.items()}
    return _curve(np.array([*grid, sources["global"][0]]), common, ["global"]), [
        _curve(points[:, z], {name: values[z] for name, values in own.items()}, [*sources])
        for z in range(truth.shape[1])
    ]


def _curve(points: NDArray[np.float64], metrics: Mapping[str, NDArray[np.float64]], sources: Sequence[str]) -> Curve:
    """Metrics at points in ascending order; `sources`: of the last points."""
    order = points.argsort()
    thresholds = points[order]
    positions = np.searchsorted(thresholds, points[-len(sources) :]).tolist()
    ordered = {name: values[order] for name, values in metrics.items()}
    return Curve(thresholds, ordered, dict(zip(sources, positions, strict=True)))
