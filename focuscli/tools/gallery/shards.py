"""A gallery's shards: features and the crops that they are of, written so that a crash leaves no half of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError
from focuscli.storage.files import atomic_path, write_json, write_text

RESUME = "Encode what is missing again: focus index SOURCE -o GALLERY --resume"


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
    for derived in folder.glob(f"{name}.*.*.npy"):  # A sketch of damaged tokens, or of another device's.
        derived.unlink(missing_ok=True)
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
        raise InputError(f"{file} is missing or damaged: {error!r}.", RESUME) from error


def read_crops(folder: Path, shard: Shard) -> list[Crop]:
    """The crops of a shard, in the order of its rows.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = folder / f"{shard.name}.crops.jsonl"
    try:
        crops = [Crop(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} is missing or damaged: {error!r}.", RESUME) from error
    if len(crops) != shard.crops:
        raise InputError(f"{file} names {len(crops):,} crops, not {shard.crops:,}.", RESUME)
    return crops


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
                f"{path} is truncated: {path.stat().st_size:,} bytes where {shape[0]:,} crops take {wanted:,}.", RESUME
            )
        found: NDArray[Any] = np.load(path, mmap_mode="c" if shape[0] else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing.", RESUME) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated: {error}.", RESUME) from error
    if found.shape != tuple(shape) or found.dtype != np.dtype(kind):
        raise InputError(f"{path} holds {found.dtype} {found.shape}, not {np.dtype(kind)} {tuple(shape)}.", RESUME)
    return found


def _lines(crops: Sequence[Crop]) -> str:
    return "".join(json.dumps(crop) + "\n" for crop in crops)
