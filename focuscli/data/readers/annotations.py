"""The result of every reader, and how readers of official downloads find files and partitions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import AttributeSchema
from focuscli.errors import FocusError, InputError, UsageError
from focuscli.storage.paths import user_path

MAX_BYTES = 512 * 1024 * 1024  # the largest real annotation file has some 20 MB
PARTITIONS_OVERLAP = "the five partitions overlap: never test on one what was trained on another"
NO_VAL = "no val split: training holds out 10% of train as val, without sharing a known person"


@dataclass(frozen=True, eq=False)
class Annotations:
    """A dataset of N images before anything is written.

    Attributes:
        schema: with the attributes in the order of `labels`.
        root: the folder that `images` are relative to.
        splits, persons: [N], "" = unknown person.
        labels: [N, A] int8; 0, 1 or 2 (uncertain).
        split: the name of the division into splits. published: counts per split, if there are any.
        warnings: what readers of metrics must know. notes: what was found.
        comment: for the head of schema.toml.
    """

    schema: AttributeSchema
    root: Path
    images: Sequence[str]
    splits: NDArray[np.str_]
    persons: NDArray[np.str_]
    labels: NDArray[np.int8]
    split: str
    published: dict[str, int] | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    comment: str = ""


@contextlib.contextmanager
def reading(path: Path, hint: str) -> Iterator[None]:
    """Turn any error of the block, which parses an annotation file, into one that names the file.

    Raises:
        InputError: the file is missing or too large, or the block failed; `hint` is what to do about it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes are too many for it")
        yield
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", hint) from error
    except FocusError:
        raise
    except Exception as error:  # readers of foreign formats raise nearly anything on a damaged file
        words = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InputError(f"{path} is not a usable {path.name}: {words}.", hint) from error


def official_partition(split: str, known: str) -> int:
    """The number of "official:0" to "official:4"; "official" is the first. `known` lists the dataset's splits.

    Raises:
        UsageError: none of them.
    """
    match = re.fullmatch(r"official(?::([0-4]))?", split)
    if match is None:
        raise UsageError(f'Unknown split "{split}".', f"Known: {known} (the default is official:0).")
    return int(match[1] or 0)


def find_file(source: Path, name: str, hint: str = "Name the folder that holds it, as downloaded.") -> Path:
    """The file `name`: `source` itself, or in that folder, at most two levels down.

    Raises:
        InputError: there is no such file; `hint` is what to do about it.
    """
    source = user_path(source)
    if source.is_file() and source.suffix == Path(name).suffix:
        return source
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        if found := sorted(source.glob(pattern)):
            return found[0]
    raise InputError(f"There is no {name} in {source}.", hint)


def find_image_root(given: Path | None, places: Sequence[Path], images: Sequence[str]) -> Path:
    """The given folder, or the first of some places that holds one of the images or folders; the first if none does."""
    if given:
        return given.resolve()
    sample = images[:: max(1, len(images) // 50)]
    for place in places:
        if any((place / image).exists() for image in (*images[:20], *sample)):
            return place.resolve()
    return places[0].resolve()
