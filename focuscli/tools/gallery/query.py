"""What to search for, and searches by stored scores: DuckDB over the Parquet files. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.inference.predict import TextDecision, probability
from focuscli.storage.extras import require_extra
from focuscli.storage.paths import argument
from focuscli.tools.gallery.store import RESUME, Gallery, Part, path_of, read_gallery

Columns = dict[str, NDArray[Any]]


class Hit(NamedTuple):
    """A crop that was found: what it is ordered by, its line in the Parquet file of its part, its image file and group, and
    its scores in the order of the query's texts."""

    value: float
    part: int
    line: int
    image: Path
    group: str | None
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Query:
    """Texts that crops must show, and texts that they must not."""

    wanted: tuple[TextDecision, ...]
    unwanted: tuple[TextDecision, ...] = ()

    @property
    def decisions(self) -> tuple[TextDecision, ...]:
        """Of `wanted`, then of `unwanted`."""
        return self.wanted + self.unwanted

    @property
    def thresholds(self) -> list[float] | None:
        """Of `decisions`; None without thresholds (zero-shot CLIP)."""
        found = [text.threshold for text in self.decisions if text.threshold is not None]
        return found if len(found) == len(self.decisions) else None

    @property
    def names(self) -> list[str]:
        """Of the texts, as a reader sees them."""
        return [text.text.phrase for text in self.wanted] + [f"not {text.text.phrase}" for text in self.unwanted]

    @property
    def title(self) -> str:
        """The query in words."""
        return ", ".join([" + ".join(self.names[: len(self.wanted)]), *self.names[len(self.wanted) :]])

    def values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What crops are ordered by [n], from scores [n, T] of `decisions`.

        With thresholds, the log-odds of P = prod_i p_i over wanted and (1 - p_j) over unwanted texts, where
        p = sigmoid(score - threshold). With e = exp(-distance) of each factor the odds against P are prod (1 + e) - 1,
        summed here without cancellation. Without thresholds, the wanted scores minus the unwanted.
        """
        distances = (scores - (self.thresholds or 0.0)) * self._signs
        if self.thresholds is None or len(self.decisions) == 1:
            return np.asarray(distances.sum(axis=1))
        # So far from a threshold nothing changes any more; the product of as many exponentials does not overflow.
        against, limit = np.zeros(len(scores)), 700 / len(self.decisions)
        for distance in distances.T[::-1]:
            term = np.exp(-distance.clip(-limit, limit))
            against = term + (1 + term) * against
        return np.asarray(-np.log(against))

    def sql(self, names: Sequence[str]) -> str:
        """`values` as an SQL expression of the columns with the scores of `decisions`."""
        thresholds = self.thresholds or [0.0] * len(names)
        distances = [
            f"{sign} * ({quoted(name)}::DOUBLE - {threshold!r})"
            for sign, name, threshold in zip(self._signs, names, thresholds, strict=True)
        ]
        if self.thresholds is None or len(self.decisions) == 1:
            return " + ".join(distances)
        against, limit = "0", 700 / len(names)
        for distance in reversed(distances):
            term = f"exp(-least(greatest({distance}, -{limit}), {limit}))"
            against = f"({term} + (1 + {term}) * {against})"
        return f"-ln({against})"

    def match(self, hit: Hit) -> float | None:
        """The probability that a crop fits the whole query; None without thresholds."""
        return None if self.thresholds is None else probability(hit.value, 0.0)

    @property
    def _signs(self) -> list[float]:
        return [1.0] * len(self.wanted) + [-1.0] * len(self.unwanted)


def top_k(hits: Iterable[Hit], k: int, *, per_group: bool = False) -> list[Hit]:
    """The best `k`, equal ones by part and line; or the best crop of each of the best `k` groups. A crop without a group is
    a group of its own."""
    ranked = sorted(hits, key=lambda hit: (-hit.value, hit.part, hit.line))
    if per_group:
        first: dict[object, Hit] = {}
        for hit in ranked:
            first.setdefault((hit.part, hit.line) if hit.group is None else hit.group, hit)
        ranked = [*first.values()]
    return ranked[:k]


@dataclass(frozen=True)
class Reader:
    """A finished gallery, opened."""

    gallery: Gallery
    parts: dict[int, Part]
    database: Any  # a DuckDB connection that reads the gallery's folder and nothing else
    where: str | None = None  # an SQL condition on the columns of the Parquet files that all crops have to meet

    def count(self) -> int:
        """Crops for which the condition holds."""
        return int(self._query("SELECT count(*) AS count FROM crops")["count"][0])

    def rows(self, columns: Sequence[str], parts: Iterable[int] | None = None, *, step: int = 1) -> Columns:
        """Columns of one crop in `step` of some parts, by default of all; what is NULL is masked."""
        return self._query(f"SELECT {', '.join(map(quoted, columns))} FROM crops WHERE row % {step} = 0", parts)

    def best(self, query: Query, columns: Sequence[str], k: int, *, per_group: bool = False) -> list[Hit]:
        """What `top_k` finds among all crops for a query of trained texts, whose scores are in `columns`."""
        order, scores = "ORDER BY value DESC, part, file_row_number", ", ".join(map(quoted, columns))
        crops = f'{query.sql(columns)} AS value, part, file_row_number, path, path_bytes, "group", {scores} FROM crops'
        if per_group:
            crops = f'DISTINCT ON ("group", CASE WHEN "group" IS NULL THEN (part, file_row_number) END) {crops} {order}'
        found = self._query(f"SELECT * FROM (SELECT {crops}) {order} LIMIT {k}")
        self.check_numbers(found["value"], found["part"])
        root, found_lines = Path(self.gallery.source.root), zip(*(v.tolist() for v in found.values()), strict=True)
        return [
            Hit(value, part, line, root / path_of(path, raw), group, tuple(row))
            for value, part, line, path, raw, group, *row in found_lines
        ]

    def check_numbers(self, values: NDArray[np.float64], parts: NDArray[np.int32]) -> None:
        """Raises InputError if a value is NaN: a crop that cannot be compared must not be left out without a word."""
        for number in parts[np.isnan(values)].tolist():
            tokens, crops = self.parts[number].file("tokens"), self.parts[number].file("crops")
            raise InputError(
                f"{tokens} is damaged: a score is not a number.",
                f"Remove {crops}, then: focus index SOURCE -o {argument(self.gallery.folder)} --resume",
            )

    def hits(
        self, number: int, lines: NDArray[np.int64], values: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> list[Hit]:
        """Hits from lines of a part's Parquet file, which is read only if there are any."""
        crops = self.parts[number].crops(lines) if len(lines) else []
        return [
            Hit(value, number, line, Path(self.gallery.source.root) / crop.path, crop.group, tuple(row))
            for value, line, crop, row in zip(values.tolist(), lines.tolist(), crops, scores.tolist(), strict=True)
        ]

    def _query(self, sql: str, parts: Iterable[int] | None = None) -> Columns:
        """Run a query over `crops`, the lines of some parts, by default of all, for which the condition holds."""
        import duckdb

        condition = "" if self.where is None else f"WHERE ({self.where}\n)"
        files = [str(self.parts[part].file("crops")) for part in (self.parts if parts is None else parts)]
        crops = f"WITH crops AS (SELECT * FROM read_parquet(?, file_row_number = true) {condition})"
        try:
            return dict(self.database.cursor().execute(f"{crops} {sql}", [files]).fetchnumpy())
        except duckdb.OutOfMemoryException as error:
            raise RequirementError(f"Searching {self.gallery.folder} takes too much memory: {error}") from error
        except duckdb.Error as error:
            said = str(error).partition("\n\nLINE")[0]
            if self.where is None or isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)):
                raise InputError(f"A Parquet file of {self.gallery.folder} is damaged: {said}", RESUME) from error
            known = ", ".join(["path, size, mtime, group", *self.gallery.columns[:6]])
            raise UsageError(f"--where {self.where}: {said}", f"Columns: {known}, ...") from error


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def open_gallery(folder: Path, *, where: str | None = None, threads: int | None = None) -> Iterator[Reader]:
    """Open a finished gallery.

    Raises:
        InputError: not a gallery, unfinished, damaged, or empty. UsageError: `where` is not a condition on its columns.
        RequirementError: the extra is not installed.
    """
    require_extra("gallery", "pyarrow", "duckdb", purpose="A gallery")
    import duckdb

    gallery = read_gallery(folder)
    if not gallery.complete:
        raise InputError(
            f"{folder} is not finished.", f"Finish it with: focus index SOURCE -o {argument(folder)} --resume"
        )
    parts = {part.number: part for part in gallery.parts}
    if not parts:
        raise InputError(f"{folder} holds no crop.", "Index a folder with readable images.")
    with duckdb.connect(config={} if threads is None else {"threads": threads}) as database:
        allowed = str(folder).replace("'", "''")
        database.execute(f"SET allowed_directories = ['{allowed}']; SET enable_external_access = false")
        database.execute("SET python_enable_replacements = false; SET parquet_metadata_cache = true")
        yield Reader(gallery, parts, database, where)
