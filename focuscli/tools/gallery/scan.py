"""Searches for texts that were not trained: the tokens are scanned in blocks and every crop is scored.

`fast` scores only the crops whose estimate from the projection is in the best tenth, and misses what the estimate misses.
Memory does not grow with the gallery: each thread holds one block of crops.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.tools.gallery.folded import ScoreTokens
from focuscli.tools.gallery.projection import Projection
from focuscli.tools.gallery.query import Hits, Query, check_numbers, groups_of, top_k
from focuscli.tools.gallery.reader import Columns, Reader
from focuscli.tools.gallery.store import PROJECTION

Progress = Callable[[int, int], None]
FAST_SHARE = 0.1
FAST_SAMPLE = 10_000
"""Crops whose estimates say where the best tenth begins. A gallery of fewer is scored throughout."""
CROPS_PER_HIT = 10
"""The least number of crops that `fast` scores for each one that it returns."""


@dataclass
class _Best:
    """The best crops so far; shared by threads."""

    k: int
    per_group: bool
    hits: Hits | None = None
    floor: float = -np.inf
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, hits: Hits) -> None:
        some = hits[np.flatnonzero(hits.values >= self.floor)]
        with self.lock:
            found = [some] if self.hits is None else [self.hits, some]
            self.hits = top_k(found, self.k, per_group=self.per_group)
            if len(self.hits) == self.k:
                self.floor = float(self.hits.values[-1])


@dataclass(frozen=True)
class Scan:
    """A search over the tokens.

    Attributes:
        queries: their texts are numbered: first those in `columns`, by the names of their columns, then those that `score`
            scores.
        threads: each takes one core and one part at a time; None: as many as torch has.
    """

    reader: Reader
    queries: Sequence[Query]
    columns: Sequence[str]
    score: ScoreTokens
    device: torch.device
    k: int
    per_group: bool = False
    threads: int | None = None

    def run(
        self, *, fast: bool = False, process_group: ProcessGroup = SINGLE, progress: Progress | None = None
    ) -> list[Hits]:
        """The best crops for each query. The processes of a group share the parts, and all get the result.

        Raises:
            InputError: a file of the gallery is damaged.
        """
        best = [_Best(self.k, self.per_group) for _ in self.queries]
        mine = process_group.shard([*self.reader.parts])
        fitting = self._fast_filter() if fast else None

        def scan(number: int) -> None:
            self._scan_part(number, best, fitting)

        with one_core_each(self.threads or torch.get_num_threads()) as pool:
            for done, _ in enumerate(pool.map(torch.inference_mode()(scan), mine), start=1):
                if progress is not None:
                    progress(done, len(mine))
        found = process_group.all_gather([part.hits for part in best])
        return [
            top_k([hits for hits in parts if hits is not None], self.k, per_group=self.per_group)
            for parts in zip(*found, strict=True)
        ]

    def _scan_part(
        self, number: int, best: Sequence[_Best], fitting: Callable[[int, Columns], NDArray[np.bool_]] | None
    ) -> None:
        wanted = [*self.columns, *(["group"] if self.per_group else [])]
        part, found = self.reader.parts[number], self.reader.rows(number, wanted)
        if fitting is not None:
            chosen = fitting(number, found)
            found = {name: values[chosen] for name, values in found.items()}
        tokens, groups = part.tokens(), groups_of(found)
        step = self._block
        for start in range(0, len(groups), step):
            rows = found["row"][start : start + step]
            whole = rows[-1] - rows[0] + 1 == len(rows)
            block = torch.from_numpy(tokens[rows[0] : rows[-1] + 1] if whole else tokens[rows]).to(self.device)
            some = {name: values[start : start + step] for name, values in found.items()}
            scores = self._joined(some, self.score(block))
            places = np.full(len(rows), number), rows.astype(np.int64), groups[start : start + step]
            for query, crops in zip(self.queries, best, strict=True):
                own = scores[:, [*query.texts]]
                values = query.values(own)
                check_numbers(self.reader, values, places[0])
                crops.add(Hits(*places, values, own))

    @property
    def _block(self) -> int:
        """Crops at a time: few enough for a core's cache, or many enough to keep a GPU busy."""
        return 128 if self.device.type == "cpu" else 8_192

    def _fast_filter(self) -> Callable[[int, Columns], NDArray[np.bool_]] | None:
        """What says which crops of a part are to be scored, from their estimates; None if all are."""
        count = self.reader.count()
        share = max(FAST_SHARE, CROPS_PER_HIT * self.k / max(count, 1))
        if count < FAST_SAMPLE or share >= 1:
            return None
        projection = Projection.load(self.reader.gallery.folder / PROJECTION)
        estimate = projection.estimator(self.score, self.device)

        def estimated(number: int, found: Columns) -> NDArray[np.float64]:
            codes = torch.from_numpy(self.reader.parts[number].projection(projection.size)[found["row"]])
            scores = self._joined(found, estimate(codes.to(self.device)))
            return np.stack([query.values(scores[:, [*query.texts]]) for query in self.queries], axis=1)

        sample = self.reader.sample(max(1, count // FAST_SAMPLE), self.columns)
        values = np.concatenate([estimated(number, found) for number, found in sample.items()])
        floors = np.nanquantile(values, 1 - share, axis=0)
        # An estimate that is not a number passes, so that the score of a damaged crop is looked at.
        return lambda number, found: ~(estimated(number, found) < floors).all(axis=1)

    def _joined(self, found: Columns, scores: torch.Tensor) -> NDArray[np.float64]:
        """Scores of all texts [n, T]: those from columns, then others."""
        stored = [found[name].astype(np.float64)[:, None] for name in self.columns]
        return np.concatenate([*stored, scores.double().cpu().numpy()], axis=1)


@contextlib.contextmanager
def one_core_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of which each computes on one core; the process's own setting is as before afterwards."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(max(1, threads), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
