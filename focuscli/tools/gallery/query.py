"""What to search for, and searches that need nothing but stored scores. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError
from focuscli.tools.gallery.reader import Columns, Reader, quoted


@dataclass(frozen=True)
class Query:
    """A search.

    Attributes:
        wanted, unwanted: numbers of texts. thresholds: of these in that order; None if there are none (zero-shot CLIP).
    """

    wanted: tuple[int, ...]
    unwanted: tuple[int, ...] = ()
    thresholds: tuple[float, ...] | None = None

    @property
    def texts(self) -> tuple[int, ...]:
        return self.wanted + self.unwanted

    def values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What crops are ordered by [n], from scores [n, T] of `texts`.

        With thresholds, the log-odds of P = prod_i p_i over wanted and (1 - p_j) over unwanted texts, where
        p = sigmoid(score - threshold). With e = exp(-distance) of each factor the odds against P are prod (1 + e) - 1,
        summed here from the last text to the first without cancellation. Without thresholds, the sum of the wanted
        scores minus the sum of the unwanted.
        """
        signs = np.array([1.0] * len(self.wanted) + [-1.0] * len(self.unwanted))
        if self.thresholds is None:
            return np.asarray(scores @ signs)
        distances = (scores - np.array(self.thresholds)) * signs
        if distances.shape[1] == 1:
            return np.asarray(distances[:, 0])
        limit = self._limit
        against = np.zeros(len(scores))
        for distance in distances.T[::-1]:
            term = np.exp(-distance.clip(-limit, limit))
            against = term + (1 + term) * against
        return np.asarray(-np.log(against))

    def sql(self, names: Sequence[str]) -> str:
        """`values` as an SQL expression of the columns with the scores of `texts`."""
        columns = [f"{quoted(name)}::DOUBLE" for name in names]
        signs = ["+"] * len(self.wanted) + ["-"] * len(self.unwanted)
        if self.thresholds is None:
            return " ".join(f"{sign} {column}" for sign, column in zip(signs, columns, strict=True))
        pairs = zip(signs, columns, self.thresholds, strict=True)
        distances = [f"({sign}({column} - {threshold!r}))" for sign, column, threshold in pairs]
        if len(distances) == 1:
            return distances[0]
        against = "0"
        for distance in reversed(distances):
            term = f"exp(least(greatest(-{distance}, -{self._limit}), {self._limit}))"
            against = f"({term} + (1 + {term}) * {against})"
        return f"-ln({against})"

    @property
    def _limit(self) -> float:
        """So far from a threshold nothing changes any more; the product of as many exponentials does not overflow."""
        return 700 / len(self.texts)


@dataclass(frozen=True)
class Hits:
    """Crops, best first; equal ones by part and row.

    Attributes:
        parts, rows: [n], where they are stored. groups: [n], of a search for the best of each; else None.
        values: [n], what they are ordered by. scores: [n, T] of the query's texts.
    """

    parts: NDArray[np.int64]
    rows: NDArray[np.int64]
    groups: NDArray[np.object_]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: NDArray[np.int64]) -> Hits:
        return Hits(
            self.parts[chosen], self.rows[chosen], self.groups[chosen], self.values[chosen], self.scores[chosen]
        )


def top_k(found: Sequence[Hits], k: int, *, per_group: bool = False) -> Hits:
    """The best `k` of several, or the best crop of each of the best `k` groups."""
    names = ("parts", "rows", "groups", "values", "scores")
    every = Hits(*(np.concatenate([getattr(hits, name) for hits in found]) for name in names))
    order = np.lexsort((every.rows, every.parts, -every.values))
    if not per_group:
        return every[order[:k]]
    chosen: dict[object, np.int64] = {}
    for position in order:
        group = every.groups[position]
        chosen.setdefault((every.parts[position], every.rows[position]) if group is None else group, position)
        if len(chosen) == k:
            break
    return every[np.array([*chosen.values()], dtype=np.int64)]


def search_columns(reader: Reader, query: Query, names: Sequence[str], k: int, *, per_group: bool = False) -> Hits:
    """The best `k` crops for a query of trained texts only, whose scores are in the columns `names`.

    Raises:
        InputError: a stored score is not a number.
    """
    found = reader.best(query.sql(names), [*dict.fromkeys(names)], k, per_group=per_group)
    scores = np.stack([found[name].astype(np.float64) for name in names], axis=1)
    values = found["value"].astype(np.float64)
    check_numbers(reader, values, found["part"])
    return Hits(found["part"].astype(np.int64), found["row"].astype(np.int64), groups_of(found), values, scores)


def groups_of(found: Columns) -> NDArray[np.object_]:
    """The column `group`, if it was read; DuckDB masks what is NULL, which `tolist` makes None."""
    return np.array(found["group"].tolist() if "group" in found else [None] * len(found["row"]), dtype=object)


def check_numbers(reader: Reader, values: NDArray[np.float64], parts: NDArray[np.int64]) -> None:
    """Refuse scores that are not numbers, rather than to leave their crops out without a word.

    Raises:
        InputError: there is one.
    """
    bad = np.isnan(values)
    if bad.any():
        part = reader.parts[int(parts[bad][0])]
        raise InputError(
            f"{part.file('tokens')} is damaged: a score is not a number.",
            f"Remove {part.file('crops')}, then: focus index SOURCE -o {reader.gallery.folder} --resume",
        )
