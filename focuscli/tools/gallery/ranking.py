"""The best crops so far, and joining what several shards, threads or processes found. NumPy only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hits:
    """Crops, best first; equal ones by position.

    Attributes:
        positions: [n] in the gallery. values: [n], what they are ordered by. scores: [n, T] of the query's texts.
    """

    positions: NDArray[np.int64]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)


def ordered(positions: NDArray[np.int64], values: NDArray[np.float64], scores: NDArray[np.float64], k: int) -> Hits:
    """The best `k`, whatever order they come in."""
    order = np.lexsort((positions, -values))[:k]
    return Hits(positions[order], values[order], scores[order])


def merge(parts: Sequence[Hits], k: int) -> Hits:
    """The best `k` of several; a position that several name counts once."""
    positions = np.concatenate([part.positions for part in parts])
    _, first = np.unique(positions, return_index=True)
    values = np.concatenate([part.values for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    return ordered(positions[first], values[first], scores[first], k)


def recall(found: Hits, exact: Hits) -> float:
    """The share of the exact result that was found."""
    return float(np.isin(exact.positions, found.positions).mean()) if len(exact) else 1.0


class Best:
    """The positions of the best `k` values added so far and of those within `tolerance` of the k-th; shared by threads.

    Values are in single precision's accuracy: which of two within the tolerance is better is for a later, finer look.
    """

    def __init__(self, k: int, tolerance: float) -> None:
        self.k = k
        self.tolerance = tolerance
        self.floor = -np.inf
        """A value below this cannot be among the best any more."""
        self._lock = threading.Lock()
        self._positions = np.empty(0, dtype=np.int64)
        self._values = np.empty(0)

    def add(self, positions: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Offer crops."""
        good = values >= self.floor
        if not good.any():
            return
        with self._lock:
            self._positions = np.concatenate([self._positions, positions[good]])
            self._values = np.concatenate([self._values, values[good]])
            if len(self._values) > self.k:
                place = len(self._values) - self.k
                self.floor = float(np.partition(self._values, place)[place]) - self.tolerance
                kept = self._values >= self.floor
                self._positions, self._values = self._positions[kept], self._values[kept]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Ascending."""
        return np.sort(self._positions)

    def hits(self, k: int) -> Hits:
        """The best `k` as they were added, without scores."""
        return ordered(self._positions, self._values, np.empty((len(self._values), 0)), k)
