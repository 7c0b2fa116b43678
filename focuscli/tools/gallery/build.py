"""Deriving the sketch of a gallery's shards; `index` encodes the crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.folded import FoldedAttention, FoldedTexts
from focuscli.tools.gallery.manifest import SKETCH, Manifest
from focuscli.tools.gallery.scan import one_core_each, without_gradients
from focuscli.tools.gallery.shards import open_array, save_array

SAMPLE = 8_192
SKETCH_SHARE = 4  # Of the tokens' dimensions, one in so many is a direction of the sketch.


def sketch_gallery(
    folder: Path,
    manifest: Manifest,
    folded: FoldedAttention,
    texts: FoldedTexts,
    *,
    size: int | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Make the basis, where the manifest names none, and the sketch of every shard that has none; returns the basis' name.

    Args:
        threads: each takes one core and one shard at a time.

    Raises:
        InputError: a shard is damaged. RequirementError: no space.
    """
    name = manifest.basis or make_basis(folder, manifest, folded, texts, size=size)
    basis = sketch.Basis.load(folder / name)

    sketch_shards(
        folder, replace(manifest, basis=name), manifest.shards, basis, folded, threads=threads, progress=progress
    )
    return name


def sketch_shards(
    folder: Path,
    manifest: Manifest,
    shards: Sequence[tuple[str, int]],
    basis: sketch.Basis,
    folded: FoldedAttention,
    *,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Sketch some shards, each in a thread that takes one core: faster than one shard on several, and the same to the bit
    however many there are."""

    def sketch_one(item: tuple[str, int]) -> None:
        sketch_shard(folder, manifest, *item, basis, folded)

    with one_core_each(threads) as pool:
        for done, _ in enumerate(pool.map(without_gradients(sketch_one), shards), start=1):
            if progress is not None:
                progress(done, len(shards))


def make_basis(
    folder: Path, manifest: Manifest, folded: FoldedAttention, texts: FoldedTexts, *, size: int | None = None
) -> str:
    """Fit the basis to a sample of the crops, evenly over all shards, and write it; returns its file's name."""
    step = -(-manifest.crops // SAMPLE)
    parts = []
    for shard, count in manifest.shards:
        rows = open_array(folder / f"{shard}.tokens.npy", (count, manifest.tokens, manifest.width), np.float16)
        parts.append(torch.from_numpy(rows[::step]))
    basis = sketch.fit_basis(torch.cat(parts), folded, texts, size or max(1, manifest.width // SKETCH_SHARE))
    return basis.save(folder)


def sketch_shard(
    folder: Path, manifest: Manifest, shard: str, count: int, basis: sketch.Basis, folded: FoldedAttention
) -> None:
    """Write a shard's codes, norms and floors with the manifest's `basis`, unless they are there and whole."""
    files = [folder / manifest.sketch_file(shard, kind) for kind in SKETCH]
    if all(_whole(file, count) for file in files):
        return
    rows = open_array(folder / f"{shard}.tokens.npy", (count, manifest.tokens, manifest.width), np.float16)
    device = folded.out.device
    values = sketch.encode(torch.from_numpy(rows).to(device), basis.to(device), folded)
    for file, value in zip(files, values, strict=True):
        save_array(file, value)


def _whole(file: Path, count: int) -> bool:
    """Whether an array is there, for so many crops, and not cut off."""
    try:
        return len(np.load(file, mmap_mode="r" if count else None, allow_pickle=False)) == count
    except (OSError, ValueError, TypeError):
        return False
