"""The best crops of a gallery for queries: exactly, or in two stages.

Every function takes the shards that it is to look at and gives what it found there; `ranking.merge` joins such parts, so
that threads, processes and machines share a search without knowing of each other:

    exact       merge over parts of `search_exact(part)`
    two stages  chosen = merge over parts of `find_candidates(part)`, then merge over parts of `rerank(part, chosen)`

Both give the same result however the shards are dealt out. Memory stays constant: each thread holds one block of crops.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.errors import UsageError
from focuscli.gallery import sketch
from focuscli.gallery.folded import SLACK
from focuscli.gallery.format import Gallery
from focuscli.gallery.query import Query
from focuscli.gallery.ranking import Best, Hits, merge, ordered
from focuscli.gallery.scorer import FoldedScorer, Scorer
from focuscli.gallery.team import Alone, Team

Progress = Callable[[int, int], None]
A = TypeVar("A")
R = TypeVar("R")
CANDIDATES_PER_HIT = 50
LEAST_CANDIDATES = 1_000
EXACT_ROWS = 256  # Crops at a time in double precision.


@dataclass(frozen=True)
class Searcher:
    """A gallery, texts and how to compute.

    Attributes:
        threads: on a CPU; each takes one core.
        resident: tokens by shard that already lie on the device; others are read from the files.
    """

    gallery: Gallery
    scorer: Scorer
    threads: int = 1
    resident: Mapping[int, Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where the scorer's weights are."""
        return self.scorer.texts.device

    @property
    def all_shards(self) -> range:
        return range(self.gallery.shards)

    @property
    def basis(self) -> sketch.Basis | None:
        """The sketch's basis; None where the gallery has none or the scorer cannot use it."""
        name = self.gallery.manifest.basis
        if name is None or not isinstance(self.scorer, FoldedScorer):
            return None
        return sketch.Basis.load(self.gallery.folder / name).to(self.device)

    def tokens(self, shard: int, rows: slice | NDArray[np.int64]) -> Tensor:
        """Tokens [n, K, D] float16 of some rows of a shard, on the device."""
        if self.resident is not None and shard in self.resident:
            return self.resident[shard][rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device)]
        return torch.from_numpy(self.gallery.tokens(shard)[rows]).to(self.device)


def load_resident(gallery: Gallery, device: torch.device) -> dict[int, Tensor]:
    """All tokens on a device, for many searches in one process: 12 KiB a crop of ViT-B/16."""
    return {shard: torch.from_numpy(gallery.tokens(shard)[:]).to(device) for shard in range(gallery.shards)}


def search(
    searcher: Searcher,
    queries: Sequence[Query],
    k: int,
    *,
    two_stage: bool = False,
    team: Team | None = None,
    progress: Progress | None = None,
) -> list[Hits]:
    """The best `k` crops (all, where there are fewer) of the whole gallery for each query; a team shares the shards.

    Raises:
        UsageError: two stages are asked for, and the gallery has no sketch or the model cannot use one.
    """
    team = team or Alone()
    mine = team.my_part(searcher.all_shards)
    if not two_stage:
        return _joined(team, search_exact(searcher, queries, k, mine, progress=progress), k)
    count = candidates_for(k)
    chosen = _joined(team, find_candidates(searcher, queries, count, mine, progress=progress), count)
    return _joined(team, rerank(searcher, queries, k, chosen, mine), k)


def _joined(team: Team, found: list[Hits], k: int) -> list[Hits]:
    """What all processes found, query by query."""
    return [merge(parts, k) for parts in zip(*team.collect(found), strict=True)]


def candidates_for(k: int) -> int:
    """How many candidates the first stage hands to the second for `k` results."""
    return max(LEAST_CANDIDATES, CANDIDATES_PER_HIT * k)


def search_exact(
    searcher: Searcher, queries: Sequence[Query], k: int, shards: Sequence[int], *, progress: Progress | None = None
) -> list[Hits]:
    """The best `k` crops of some shards for each query, by the model's own score."""
    scorer = searcher.scorer
    best = [Best(k, _tolerance(query, scorer)) for query in queries]
    if isinstance(scorer, FoldedScorer):
        basis = searcher.basis
        unit = None if basis is None else float(basis.unit)
        scan: Callable[[Block], None] = lambda block: _scan_folded(searcher, scorer, unit, queries, best, block)  # noqa: E731
    else:
        scan = lambda block: _scan_scores(searcher, queries, best, block)  # noqa: E731
    _run(searcher, _blocks(searcher, shards, _rows(searcher)), scan, progress)
    return _settle(searcher, queries, k, [part.positions for part in best])


def find_candidates(
    searcher: Searcher, queries: Sequence[Query], count: int, shards: Sequence[int], *, progress: Progress | None = None
) -> list[Hits]:
    """The `count` crops of some shards whose estimated scores are best for each query, with their estimates.

    Raises:
        UsageError: the gallery has no sketch, or the scorer cannot use one.
    """
    basis, scorer = searcher.basis, searcher.scorer
    if basis is None or not isinstance(scorer, FoldedScorer):
        raise UsageError(
            "Two stages need a sketch, which only galleries of models with attribute-guided extraction have.",
            "Search it with --exact; without that module there is little to save.",
        )
    folded, texts = scorer.attention, scorer.query
    sketched = sketch.sketch_texts(basis, texts)
    best = [Best(count, 0.0) for _ in queries]

    def scan(block: Block) -> None:
        rows = slice(block.start, block.stop)
        codes = torch.from_numpy(searcher.gallery.sketch(block.shard, basis.size)[rows]).to(searcher.device)
        norms = torch.from_numpy(searcher.gallery.norms(block.shard, folded.heads)[rows]).to(searcher.device)
        scores = sketch.estimate(codes, norms, sketched, texts, folded).T
        for query, part in zip(queries, best, strict=True):
            values = query.values(scores[:, [*query.columns]]).cpu().numpy()
            part.add(block.positions, values)

    _run(searcher, _blocks(searcher, shards, _rows(searcher)), scan, progress)
    return [part.hits(count) for part in best]


def rerank(
    searcher: Searcher, queries: Sequence[Query], k: int, candidates: Sequence[Hits], shards: Sequence[int]
) -> list[Hits]:
    """The best `k` of the candidates that lie in some shards, for each query, by the model's own score."""
    allowed = np.zeros(searcher.gallery.shards, dtype=bool)
    allowed[[*shards]] = True
    survivors = []
    for query, found in zip(queries, candidates, strict=True):
        mine = np.sort(found.positions[allowed[searcher.gallery.locate(found.positions)[0]]])
        best = Best(k, _tolerance(query, searcher.scorer))
        _score_positions(searcher, mine, searcher.scorer.scores, query, best)
        survivors.append(best.positions)
    return _settle(searcher, queries, k, survivors)


@dataclass(frozen=True)
class Block:
    """Some rows of a shard; `first` is the position of the first."""

    shard: int
    start: int
    stop: int
    first: int

    @property
    def positions(self) -> NDArray[np.int64]:
        return np.arange(self.first, self.first + self.stop - self.start, dtype=np.int64)


def _scan_folded(
    searcher: Searcher,
    scorer: FoldedScorer,
    unit: float | None,
    queries: Sequence[Query],
    best: Sequence[Best],
    block: Block,
) -> None:
    """Offer the crops of a block that can be among the best."""
    folded, texts = scorer.attention, scorer.query
    rows = slice(block.start, block.stop)
    tokens = searcher.tokens(block.shard, rows)
    weights, numerator = folded.attend(folded.project(tokens, scorer.functions), texts)
    low, high = torch.zeros_like(numerator), torch.full_like(numerator, torch.inf)
    if unit is not None:
        floors = torch.from_numpy(searcher.gallery.floors(block.shard, folded.heads)[rows]).to(searcher.device)
        low = folded.least_norm(weights, floors, unit)
        if any(query.unwanted for query in queries):
            high = folded.most_norm(weights, floors, unit)
    lower, upper = folded.score_bounds(numerator, low, high)
    for query, part in zip(queries, best, strict=True):
        columns = [*query.columns]
        possible = (query.most(lower[columns].T, upper[columns].T) >= part.floor).nonzero()[:, 0]
        if not len(possible):
            continue
        scores = [folded.finish(tokens, possible, weights[:, column], texts.unit[column]) for column in columns]
        values = query.values(torch.stack(scores, dim=1)).cpu().numpy()
        part.add(block.first + possible.cpu().numpy(), values)


def _scan_scores(searcher: Searcher, queries: Sequence[Query], best: Sequence[Best], block: Block) -> None:
    """Score a block by the model itself."""
    scores = searcher.scorer.scores(searcher.tokens(block.shard, slice(block.start, block.stop)))
    for query, part in zip(queries, best, strict=True):
        part.add(block.positions, query.values(scores[:, [*query.columns]]).cpu().numpy())


def _score_positions(
    searcher: Searcher, positions: NDArray[np.int64], score: Callable[[Tensor], Tensor], query: Query, best: Best | None
) -> NDArray[np.float64]:
    """Scores [n, T] of a query's texts at ascending positions; offered to `best`, too, where there is one."""
    parts: list[NDArray[np.float64]] = [np.empty((0, len(query.columns)))]
    shards, rows = searcher.gallery.locate(positions)
    edges = np.flatnonzero(np.diff(shards, prepend=-1, append=-1))
    pieces = [
        slice(at, min(at + EXACT_ROWS, stop))
        for start, stop in itertools.pairwise(edges)
        for at in range(start, stop, EXACT_ROWS)
    ]

    def look(piece: slice) -> NDArray[np.float64]:
        tokens = searcher.tokens(int(shards[piece.start]), rows[piece])
        return score(tokens)[:, [*query.columns]].double().cpu().numpy()

    with _pool(searcher.threads) as pool:
        for piece, scores in zip(pieces, pool.map(_without_gradients(look), pieces), strict=True):
            if best is not None:
                best.add(positions[piece], query.values(torch.from_numpy(scores)).numpy())
            parts.append(scores)
    return np.concatenate(parts)


def _settle(searcher: Searcher, queries: Sequence[Query], k: int, survivors: Sequence[NDArray[np.int64]]) -> list[Hits]:
    """Order what is left in double precision, so that the result does not depend on how the work was cut up."""
    found = []
    for query, positions in zip(queries, survivors, strict=True):
        scores = _score_positions(searcher, positions, searcher.scorer.exact, query, None)
        found.append(ordered(positions, query.values(torch.from_numpy(scores)).numpy(), scores, k))
    return found


def _tolerance(query: Query, scorer: Scorer) -> float:
    return 2 * SLACK * scorer.scale * len(query.columns)


def _rows(searcher: Searcher) -> int:
    """Crops in a block: the more texts, the fewer."""
    manifest, scorer = searcher.gallery.manifest, searcher.scorer
    numbers = manifest.tokens * len(scorer.texts)
    numbers *= 2 * scorer.attention.heads if isinstance(scorer, FoldedScorer) else manifest.width
    on_cpu = searcher.device.type == "cpu"
    return int(np.clip((1 << (20 if on_cpu else 26)) // numbers, 128, 2_048 if on_cpu else 65_536))


def _blocks(searcher: Searcher, shards: Sequence[int], rows: int) -> list[Block]:
    gallery = searcher.gallery
    return [
        Block(shard, start, min(start + rows, gallery.manifest.shards[shard][1]), int(gallery.starts[shard]) + start)
        for shard in shards
        for start in range(0, gallery.manifest.shards[shard][1], rows)
    ]


def _run(searcher: Searcher, blocks: Sequence[Block], scan: Callable[[Block], None], progress: Progress | None) -> None:
    total, done = sum(block.stop - block.start for block in blocks), 0
    with _pool(searcher.threads) as pool:
        for block, _ in zip(blocks, pool.map(_without_gradients(scan), blocks), strict=True):
            done += block.stop - block.start
            if progress is not None:
                progress(done, total)


def _without_gradients(function: Callable[[A], R]) -> Callable[[A], R]:
    """Gradients are switched off per thread."""
    quiet: Callable[[A], R] = torch.inference_mode()(function)
    return quiet


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of which each computes on one core; the process's own setting is as before afterwards."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(max(1, threads), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
