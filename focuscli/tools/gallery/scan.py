"""Going through a gallery's blocks in threads."""

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

from focuscli.errors import InputError
from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.ranking import Best
from focuscli.tools.gallery.reader import Gallery
from focuscli.tools.gallery.scorer import FoldedScorer, Scorer

Progress = Callable[[int, int], None]
A = TypeVar("A")
R = TypeVar("R")
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

    def gather(self, positions: NDArray[np.int64]) -> Tensor:
        """Tokens [n, K, D] float16 at ascending positions of any shards, on the device."""
        shards, rows = self.gallery.locate(positions)
        edges = np.flatnonzero(np.diff(shards, prepend=-1, append=-1))
        return torch.cat([self.tokens(int(shards[a]), rows[a:b]) for a, b in itertools.pairwise(edges)])


def load_resident(gallery: Gallery, device: torch.device) -> dict[int, Tensor]:
    """All tokens on a device, for many searches in one process: 12 KiB a crop of ViT-B/16."""
    return {shard: torch.from_numpy(gallery.tokens(shard)[:]).to(device) for shard in range(gallery.shards)}


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


def blocks_of(searcher: Searcher, shards: Sequence[int]) -> list[Block]:
    """The shards in blocks; the more texts, the fewer crops in each."""
    gallery, scorer = searcher.gallery, searcher.scorer
    numbers = gallery.manifest.tokens * len(scorer.texts)
    numbers *= 2 * scorer.attention.heads if isinstance(scorer, FoldedScorer) else gallery.manifest.width
    on_cpu = searcher.device.type == "cpu"
    rows = int(np.clip((1 << (20 if on_cpu else 26)) // numbers, 128, 2_048 if on_cpu else 65_536))
    return [
        Block(shard, start, min(start + rows, gallery.manifest.shards[shard][1]), int(gallery.starts[shard]) + start)
        for shard in shards
        for start in range(0, gallery.manifest.shards[shard][1], rows)
    ]


def whole_shards(searcher: Searcher, shards: Sequence[int]) -> list[Block]:
    """The shards that have crops, each one block."""
    gallery = searcher.gallery
    counts = {shard: gallery.manifest.shards[shard][1] for shard in shards}
    return [Block(shard, 0, count, int(gallery.starts[shard])) for shard, count in counts.items() if count]


def for_each_block(
    searcher: Searcher, blocks: Sequence[Block], scan: Callable[[Block], None], progress: Progress | None = None
) -> None:
    """Call `scan` with every block, in threads."""
    total, done = sum(block.stop - block.start for block in blocks), 0
    with one_core_each(searcher.threads) as pool:
        for block, _ in zip(blocks, pool.map(without_gradients(scan), blocks), strict=True):
            done += block.stop - block.start
            if progress is not None:
                progress(done, total)


def without_gradients(function: Callable[[A], R]) -> Callable[[A], R]:
    """Gradients are switched off per thread."""
    quiet: Callable[[A], R] = torch.inference_mode()(function)
    return quiet


@contextlib.contextmanager
def one_core_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of which each computes on one core; the process's own setting is as before afterwards."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(max(1, threads), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def offer(searcher: Searcher, best: Best, positions: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Add crops to the best.

    Raises:
        InputError: a value is not a number, so a stored one is not; else that crop would be missing without a word.
    """
    bad = np.isnan(values)
    if bad.any():
        gallery = searcher.gallery
        shards, rows = gallery.locate(positions[bad])
        files = f"{gallery.folder / gallery.manifest.shards[shards[0]][0]}.*"
        raise InputError(
            f"{files}: damaged, the score of crop {rows[0]:,} is not a number.",
            f"Make this shard again: remove these files, then focus index SOURCE -o {gallery.folder} --resume",
        )
    best.add(positions, values)


def score_positions(
    searcher: Searcher,
    positions: NDArray[np.int64],
    score: Callable[[Tensor, Sequence[int]], Tensor],
    query: Query,
    best: Best | None = None,
) -> NDArray[np.float64]:
    """Scores [n, T] of a query's texts at ascending positions; offered to `best`, too, where there is one."""
    parts: list[NDArray[np.float64]] = [np.empty((0, len(query.columns)))]
    pieces = [slice(start, min(start + EXACT_ROWS, len(positions))) for start in range(0, len(positions), EXACT_ROWS)]

    def look(piece: slice) -> NDArray[np.float64]:
        return score(searcher.gather(positions[piece]), query.columns).double().cpu().numpy()

    with one_core_each(searcher.threads) as pool:
        for piece, scores in zip(pieces, pool.map(without_gradients(look), pieces), strict=True):
            if best is not None:
                offer(searcher, best, positions[piece], query.values(torch.from_numpy(scores)).numpy())
            parts.append(scores)
    return np.concatenate(parts)
