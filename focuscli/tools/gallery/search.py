"""The best crops of a gallery for queries: exactly, or in two stages.

Every function takes the shards that it is to look at and gives what it found there; `ranking.merge` joins such parts, so
that threads, processes and machines share a search without knowing of each other:

    exact       merge over parts of `search_exact(part)`
    two stages  chosen = merge over parts of `find_candidates(part)`, then merge over parts of `rerank(part, chosen)`

Both give the same result however the shards are dealt out. Memory stays constant: each thread holds one block of crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.errors import UsageError
from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.folded import DEVICE_ROWS, SLACK
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.ranking import Best, Hits, merge, ordered
from focuscli.tools.gallery.scan import (
    Block,
    Progress,
    Searcher,
    blocks_of,
    for_each_block,
    offer,
    one_core_each,
    score_positions,
    whole_shards,
    without_gradients,
)
from focuscli.tools.gallery.scorer import FoldedScorer, Scorer
from focuscli.tools.gallery.team import Alone, Team

CANDIDATES_PER_HIT = 30
LEAST_CANDIDATES = 1_000
FIRST_SHARE = 10
"""One in so many crops, by a first look, has its score estimated."""
CROPS_AT_ONCE, TEXTS_AT_ONCE = 1_024, 4  # To be estimated: more would not stay in a core's cache.


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
        InputError: a shard is damaged.
    """
    team = team or Alone()
    mine = team.shard(searcher.all_shards)
    if not two_stage:
        return _joined(team, search_exact(searcher, queries, k, mine, progress=progress), k)
    count = candidates_for(k)
    chosen = _joined(team, find_candidates(searcher, queries, count, mine, progress=progress), count)
    return _joined(team, rerank(searcher, queries, k, chosen, mine), k)


def _joined(team: Team, found: list[Hits], k: int) -> list[Hits]:
    """What all processes found, query by query."""
    return [merge(parts, k) for parts in zip(*team.all_gather(found), strict=True)]


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
    for_each_block(searcher, blocks_of(searcher, shards), scan, progress)
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
    gallery, folded, device = searcher.gallery, scorer.attention, searcher.device
    columns = range(len(scorer.texts))
    parts = [columns[start : start + TEXTS_AT_ONCE] for start in columns[::TEXTS_AT_ONCE]]
    groups = [(sketch.sketch_texts(basis, texts), texts) for texts in map(scorer.query.only, parts)]
    linear = sketch.linear_texts(basis, scorer.query, folded)

    def look(codes: Tensor) -> Tensor:
        return sketch.first_look(codes, linear).T

    floors = _first_floors(searcher, queries, count, look, basis.size)
    best = [Best(count, 0.0) for _ in queries]

    def scan(block: Block) -> None:
        codes = torch.from_numpy(gallery.sketch(block.shard, basis.size)).to(device)
        norms = torch.from_numpy(gallery.norms(block.shard, folded.heads)).to(device)
        rows = torch.arange(len(codes), device=device)
        if floors is not None:
            rows = (_values(queries, look(codes)) >= floors).any(dim=1).nonzero()[:, 0]
        for some in rows.split(CROPS_AT_ONCE if device.type == "cpu" else DEVICE_ROWS):
            few, their_norms = codes.index_select(0, some), norms.index_select(0, some)
            scores = torch.cat([sketch.estimate(few, their_norms, *group, folded) for group in groups]).T
            positions = block.first + some.cpu().numpy()
            for column, part in zip(_values(queries, scores).cpu().numpy().T, best, strict=True):
                offer(searcher, part, positions, column)

    for_each_block(searcher, whole_shards(searcher, shards), scan, progress)
    return [part.hits(count) for part in best]


def _first_floors(
    searcher: Searcher, queries: Sequence[Query], count: int, look: Callable[[Tensor], Tensor], size: int
) -> Tensor | None:
    """What a crop's first look must reach to be estimated [Q]: what one in FIRST_SHARE crops of an even sample reaches, at
    least `count` of them; None in a gallery that is no larger than such a sample. The same in every process."""
    gallery = searcher.gallery
    step = gallery.crops // (FIRST_SHARE * count)
    if step < 2:
        return None

    def sample(shard: int) -> Tensor:
        codes = gallery.sketch(shard, size)
        return _values(queries, look(torch.from_numpy(codes[::step].copy()).to(searcher.device)))

    with one_core_each(searcher.threads) as pool:
        values = torch.cat(list(pool.map(without_gradients(sample), searcher.all_shards)))
    return values.topk(len(values) // FIRST_SHARE, dim=0).values[-1]


def _values(queries: Sequence[Query], scores: Tensor) -> Tensor:
    """What crops are ordered by [n, Q], from scores of all texts [n, Z]."""
    return torch.stack([query.values(scores[:, [*query.columns]]) for query in queries], dim=1)


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
        score_positions(searcher, mine, searcher.scorer.scores, query, best)
        survivors.append(best.positions)
    return _settle(searcher, queries, k, survivors)


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
        # What is no number counts as possible, so that `offer` sees it.
        out = query.most(lower[columns].T, upper[columns].T) < part.floor
        possible = out.logical_not_().nonzero()[:, 0].to(tokens.device)
        if not len(possible):
            continue
        scores = [folded.finish(tokens, possible, weights[column], texts.unit[column]) for column in columns]
        values = query.values(torch.stack(scores, dim=1)).cpu().numpy()
        offer(searcher, part, block.first + possible.cpu().numpy(), values)


def _scan_scores(searcher: Searcher, queries: Sequence[Query], best: Sequence[Best], block: Block) -> None:
    """Score a block by the model itself."""
    tokens = searcher.tokens(block.shard, slice(block.start, block.stop))
    scores = searcher.scorer.scores(tokens, range(len(searcher.scorer.texts)))
    for query, part in zip(queries, best, strict=True):
        offer(searcher, part, block.positions, query.values(scores[:, [*query.columns]]).cpu().numpy())


def _settle(searcher: Searcher, queries: Sequence[Query], k: int, survivors: Sequence[NDArray[np.int64]]) -> list[Hits]:
    """Order what is left in double precision, so that the result does not depend on how the work was cut up."""
    found = []
    for query, positions in zip(queries, survivors, strict=True):
        # Digits beyond single precision depend on what was computed together with what.
        scores = _single(score_positions(searcher, positions, searcher.scorer.exact, query))
        found.append(ordered(positions, _single(query.values(torch.from_numpy(scores)).numpy()), scores, k))
    return found


def _single(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)


def _tolerance(query: Query, scorer: Scorer) -> float:
    return 2 * SLACK * scorer.scale * len(query.columns)
