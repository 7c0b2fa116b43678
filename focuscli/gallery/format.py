"""What lies in a gallery folder, and reading it.

    gallery.json                   the manifest: which model, which shards; replacing it commits a change
    basis-<id>.safetensors         the sketch's basis (FOCUS only)
    <number>-<digest>.json         a shard's record: how many crops, which images could not be read
    <number>-<digest>.tokens.npy   [n, K, D] float16, row i is line i of
    <number>-<digest>.crops.jsonl  ["path", bytes, modified in ns] of each crop
    <number>-<digest>.sketch.npy   [n, K, R] int8, .norms.npy [n, K, H] and .floors.npy [n, 3, K, H] float16: see `sketch`

A shard's name has the digest of what was to go into it, so two different shards never share a name, and shard i is the
same file whichever process wrote it. A record is written after its files, the manifest after all records: a process
that dies leaves a gallery that is as it was, and shards that `focus index --resume` finds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError
from focuscli.files import atomic_path, write_json, write_text

MANIFEST = "gallery.json"
FORMAT = 1


class Crop(NamedTuple):
    """An image file as it was when it was listed: path (relative to the source's root, where it has one), size in bytes
    (-1: not there) and time of its last change in ns. A file whose size or time differ counts as changed."""

    path: str
    size: int
    modified: int


class Skipped(NamedTuple):
    """An image that could not be read, and why."""

    crop: Crop
    reason: str


@dataclass(frozen=True)
class Shard:
    """A shard's record.

    Attributes:
        name: number and digest. crops: rows. skipped: images that were to be in it and cannot be read.
    """

    name: str
    crops: int
    skipped: tuple[Skipped, ...] = ()

    @property
    def number(self) -> int:
        return int(self.name.partition("-")[0])


@dataclass(frozen=True)
class Binding:
    """Which model made the features.

    Attributes:
        method: its name. config: SHA-256 of its model configuration. step: of training; None for CLIP as it is.
        weights: SHA-256 over all parameters. origin: where CLIP's weights came from. run: the checkpoint's folder.
        precision: `fp32` or `bf16`, of the image tower.
    """

    method: str
    config: str
    step: int | None
    weights: str
    origin: str
    run: str
    precision: str

    def same_model(self, other: Binding) -> bool:
        """Whether two galleries, or a gallery and a model, go together."""
        return (self.method, self.config, self.weights) == (other.method, other.config, other.weights)

    def __str__(self) -> str:
        step = "" if self.step is None else f", step {self.step:,}"
        return f"{self.run} ({self.method}{step}, weights {self.weights[:12]})"


@dataclass(frozen=True)
class Manifest:
    """The content of gallery.json.

    Attributes:
        model: what the gallery is bound to. tokens, width: K and D of a crop's features.
        source: what was indexed: "kind", "root" (what paths are relative to; "" where they are absolute), "name", "split".
        basis: the file of the sketch's basis; None where there is no sketch.
        shards: names and sizes. complete: False until the first run has come to its end.
    """

    model: Binding
    tokens: int
    width: int
    source: dict[str, str]
    basis: str | None = None
    shards: tuple[tuple[str, int], ...] = ()
    skipped: int = 0
    complete: bool = False

    @property
    def crops(self) -> int:
        return sum(count for _, count in self.shards)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit: from now on the gallery is what this manifest says."""
    write_json(folder / MANIFEST, {"format": FORMAT, "crops": manifest.crops, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a gallery folder, finished or not.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = folder / MANIFEST
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise InputError(f"{file} is no gallery of this version of focus (want format {FORMAT}).")
        data.pop("crops")
        shards = tuple((str(name), int(count)) for name, count in data.pop("shards"))
        return Manifest(model=Binding(**data.pop("model")), shards=shards, **data)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no gallery (no {MANIFEST} in it).", f"Make one with: focus index FOLDER -o {folder}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {error!r}.", "Index the images again into another folder.") from error


def shard_name(number: int, crops: Sequence[Crop]) -> str:
    """The name of the shard that these crops are to go into."""
    return f"{number:06d}-{hashlib.sha256(_lines(crops).encode()).hexdigest()[:12]}"


def write_shard(
    folder: Path, name: str, tokens: NDArray[np.float16], crops: Sequence[Crop], skipped: Sequence[Skipped]
) -> Shard:
    """Write a shard's files, each under a temporary name first, and last its record.

    Raises:
        RequirementError: no space, or the folder cannot be written.
    """
    save_array(folder / f"{name}.tokens.npy", tokens)
    write_text(folder / f"{name}.crops.jsonl", _lines(crops))
    write_json(
        folder / f"{name}.json", {"crops": len(crops), "skipped": [[*item.crop, item.reason] for item in skipped]}
    )
    return Shard(name, len(crops), tuple(skipped))


def read_shard(folder: Path, name: str) -> Shard:
    """A shard's record.

    Raises:
        InputError: not there or damaged.
    """
    file = folder / f"{name}.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        skipped = tuple(Skipped(Crop(*row[:3]), row[3]) for row in data["skipped"])
        return Shard(name, int(data["crops"]), skipped)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{file} is missing or damaged: {error!r}.", _RESUME) from error


def read_crops(folder: Path, shard: Shard) -> list[Crop]:
    """The crops of a shard, in the order of its rows.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = folder / f"{shard.name}.crops.jsonl"
    try:
        crops = [Crop(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} is missing or damaged: {error!r}.", _RESUME) from error
    if len(crops) != shard.crops:
        raise InputError(f"{file} names {len(crops):,} crops, not {shard.crops:,}.", _RESUME)
    return crops


def open_tokens(folder: Path, manifest: Manifest, shard: Shard) -> NDArray[np.float16]:
    """The features [n, K, D] of a shard.

    Raises:
        InputError: missing, truncated or something else.
    """
    shape = (shard.crops, manifest.tokens, manifest.width)
    return open_array(folder / f"{shard.name}.tokens.npy", shape, np.float16)


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as .npy, atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, values)


def open_array(path: Path, shape: Sequence[int], kind: type[np.generic]) -> NDArray[Any]:
    """A memory-mapped .npy (what is written to it never reaches the file), after a check of its size, shape and type.

    Raises:
        InputError: missing, truncated or something else.
    """
    wanted = int(np.prod(shape)) * np.dtype(kind).itemsize
    try:
        if path.stat().st_size < wanted:
            raise InputError(
                f"{path} is truncated: {path.stat().st_size:,} bytes where {shape[0]:,} crops take {wanted:,}.", _RESUME
            )
        found: NDArray[Any] = np.load(path, mmap_mode="c" if shape[0] else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing.", _RESUME) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated: {error}.", _RESUME) from error
    if found.shape != tuple(shape) or found.dtype != np.dtype(kind):
        raise InputError(f"{path} holds {found.dtype} {found.shape}, not {np.dtype(kind)} {tuple(shape)}.", _RESUME)
    return found


_RESUME = "Encode what is missing again: focus index SOURCE -o GALLERY --resume"


def _lines(crops: Sequence[Crop]) -> str:
    return "".join(json.dumps(crop) + "\n" for crop in crops)


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
        return self._array(shard, "tokens", (self.manifest.tokens, self.manifest.width), np.float16)

    def sketch(self, shard: int, size: int) -> NDArray[np.int8]:
        """Codes [n, K, R] of a shard."""
        return self._array(shard, "sketch", (self.manifest.tokens, size), np.int8)

    def norms(self, shard: int, heads: int) -> NDArray[np.float16]:
        """[n, K, H]; see `focuscli.gallery.sketch`."""
        return self._array(shard, "norms", (self.manifest.tokens, heads), np.float16)

    def floors(self, shard: int, heads: int) -> NDArray[np.float16]:
        """[n, 3, K, H]; see `focuscli.gallery.sketch`."""
        return self._array(shard, "floors", (3, self.manifest.tokens, heads), np.float16)

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shards and rows of positions."""
        shards = np.searchsorted(self.starts, positions, side="right") - 1
        return shards, positions - self.starts[shards]

    def paths(self, positions: NDArray[np.int64]) -> list[Path]:
        """Image files of positions."""
        root = Path(self.manifest.source["root"])
        found: dict[int, Path] = {}
        shards, rows = self.locate(positions)
        for shard in np.unique(shards).tolist():
            chosen = np.flatnonzero(shards == shard)
            file = self.folder / f"{self.manifest.shards[shard][0]}.crops.jsonl"
            lines = file.read_bytes().split(b"\n")  # only those that are wanted are parsed: shards are long
            found |= {int(index): root / json.loads(lines[rows[index]])[0] for index in chosen}
        return [found[index] for index in range(len(positions))]

    def _array(self, shard: int, kind: str, rest: tuple[int, ...], type_: type[np.generic]) -> NDArray[Any]:
        name, count = self.manifest.shards[shard]
        return open_array(self.folder / f"{name}.{kind}.npy", (count, *rest), type_)


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
