"""Outlines as point lists: float arrays [n, 2] of (x, y) in figure units (1 = height of an average adult, y upwards)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Point = tuple[float, float]


def smooth(points: Sequence[Point] | Points, *, closed: bool = True, steps: int = 5) -> Points:
    """A Catmull-Rom curve through `points`; [steps * n, 2] where closed, else [steps * (n - 1) + 1, 2]."""
    given = np.asarray(points, np.float64)
    return _curve_matrix(len(given), steps, closed) @ given


def ellipse(x: float, y: float, rx: float, ry: float, *, count: int = 24) -> Points:
    return _ring(count, 2.0) * (rx, ry) + (x, y)


def rounded(x: float, y: float, rx: float, ry: float, *, power: float = 4.5) -> Points:
    """A box with round corners (a superellipse) around (x, y); the higher `power`, the sharper."""
    return _ring(28, power) * (rx, ry) + (x, y)


def tube(centre: Sequence[Point] | Points, radii: Sequence[float], *, steps: int = 4, flat_end: bool = False) -> Points:
    """The outline of a limb: a curve with a radius at each point, its ends round (the last one flat where wanted)."""
    line = smooth(centre, closed=False, steps=steps)
    radius = _curve_matrix(len(radii), steps, False) @ np.asarray(radii, np.float64)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * radius[:, None]
    start = line[0] - _CAP[:, :1] * along[0] * radius[0] - _CAP[:, 1:] * normal[0]
    end = line[-1] + _CAP[:, :1] * along[-1] * radius[-1] + _CAP[:, 1:] * normal[-1]
    ends = line[-1:] if flat_end else end
    return np.concatenate([start, line + normal, ends, (line - normal)[::-1]])


def band(points: Points, low: float, high: float) -> Points:
    """The part of an outline between two heights: points outside are moved to the nearer of them."""
    return np.column_stack([points[:, 0], points[:, 1].clip(low, high)])


_angles = np.linspace(0.3, np.pi - 0.3, 5)
_CAP = np.stack([np.sin(_angles), np.cos(_angles)], axis=1)


@functools.lru_cache
def _ring(count: int, power: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    exponent = 2.0 / power
    return np.stack([np.sign(cosine) * abs(cosine) ** exponent, np.sign(sine) * abs(sine) ** exponent], axis=1)


@functools.lru_cache(maxsize=256)
def _curve_matrix(count: int, steps: int, closed: bool) -> Points:
    """[points out, count]: Catmull-Rom interpolation is linear in its control points."""
    segments = count if closed else count - 1
    rows = []
    for segment in range(segments):
        neighbours = [segment - 1, segment, segment + 1, segment + 2]
        at = [index % count if closed else min(max(index, 0), count - 1) for index in neighbours]
        for t in np.arange(steps) / steps:
            row = np.zeros(count)
            weights = (
                -0.5 * t + t * t - 0.5 * t**3,
                1 - 2.5 * t * t + 1.5 * t**3,
                0.5 * t + 2 * t * t - 1.5 * t**3,
                -0.5 * t * t + 0.5 * t**3,
            )
            for index, weight in zip(at, weights, strict=True):
                row[index] += weight
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.stack(rows)
