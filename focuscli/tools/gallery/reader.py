"""A finished gallery, to be searched."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError
from focuscli.tools.gallery.manifest import Manifest, read_manifest
from focuscli.tools.gallery.shards import RESUME, Crop, open_array


@dataclass(frozen=True)
class Gallery:
    """A finished gallery, its files memory-mapped when they are asked for.

    Positions of crops count through the shards in the manifest's order.
    """

    folder: Path
    manifest: Manifest
    starts: NDArray[np.int64] = field(repr=False)

    @property
    def crops(self) -> int:
        return self.manifest.crops

    @property
    def shards(self) -> int:
        return len(self.manifest.shards)

    def tokens(self, shard: int) -> NDArray[np.float16]:
        """Features [n, K, D] of a shard."""
        return self._array(
            f"{self._name(shard)}.tokens.npy", shard, (self.manifest.tokens, self.manifest.width), np.float16
        )

    def sketch(self, shard: int, size: int) -> NDArray[np.int8]:
        """Codes [n, K, R] of a shard."""
        return self._sketch(shard, "sketch", (self.manifest.tokens, size), np.int8)

    def norms(self, shard: int, heads: int) -> NDArray[np.float16]:
        """[n, K, H]; see `focuscli.tools.gallery.sketch`."""
        return self._sketch(shard, "norms", (self.manifest.tokens, heads), np.float16)

    def floors(self, shard: int, heads: int) -> NDArray[np.float16]:
        """[n, 3, K, H]; see `focuscli.tools.gallery.sketch`."""
        return self._sketch(shard, "floors", (3, self.manifest.tokens, heads), np.float16)

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shards and rows of positions."""
        shards = np.searchsorted(self.starts, positions, side="right") - 1
        return shards, positions - self.starts[shards]

    def paths(self, positions: NDArray[np.int64]) -> list[Path]:
        """Image files of positions.

        Raises:
            InputError: a shard's list of them is missing or damaged.
        """
        found: dict[int, Path] = {}
        shards, rows = self.locate(positions)
        for shard in np.unique(shards).tolist():
            chosen = np.flatnonzero(shards == shard)
            found |= dict(zip(chosen.tolist(), self._listed(shard, rows[chosen]), strict=True))
        return [found[index] for index in range(len(positions))]

    def _listed(self, shard: int, rows: NDArray[np.int64]) -> list[Path]:
        """Image files of some rows."""
        root = Path(self.manifest.source["root"])
        name, count = self.manifest.shards[shard]
        file = self.folder / f"{name}.crops.jsonl"
        try:
            lines = file.read_bytes().splitlines()
            if len(lines) != count:
                raise InputError(f"{file} names {len(lines):,} crops, not {count:,}.", RESUME)
            return [
                root / Crop(*json.loads(lines[row])).path for row in rows
            ]  # the others are not parsed: shards are long
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{file} is missing or damaged: {error!r}.", RESUME) from error

    def _name(self, shard: int) -> str:
        return self.manifest.shards[shard][0]

    def _sketch(self, shard: int, kind: str, rest: tuple[int, ...], type_: type[np.generic]) -> NDArray[Any]:
        return self._array(self.manifest.sketch_file(self._name(shard), kind), shard, rest, type_)

    def _array(self, file: str, shard: int, rest: tuple[int, ...], type_: type[np.generic]) -> NDArray[Any]:
        return open_array(self.folder / file, (self.manifest.shards[shard][1], *rest), type_)


def open_gallery(folder: Path) -> Gallery:
    """A finished gallery; every shard's file is there and has its size.

    Raises:
        InputError: no gallery, unfinished, damaged, or empty.
    """
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise InputError(f"{folder} is not finished.", f"Finish it with: focus index SOURCE -o {folder} --resume")
    if not manifest.crops:
        raise InputError(f"{folder} holds no crop.", "Index a folder with readable images.")
    starts = np.cumsum([0, *(count for _, count in manifest.shards)])[:-1].astype(np.int64)
    gallery = Gallery(folder, manifest, starts)
    for shard in range(gallery.shards):
        gallery.tokens(shard)
    return gallery
