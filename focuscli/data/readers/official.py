"""What a reader of an official download hands over: labels in schema order, splits, and what to say about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError, UsageError

RARE = 0.02


@dataclass(frozen=True, eq=False)
class Official:
    """An official dataset of N images, before anything is written.

    Attributes:
        schema: with the attributes in the order of `labels`.
        root: the folder that `images` are relative to.
        images: N names. splits, persons: [N], "" = unknown person.
        labels: [N, A] int8; 0, 1 or 2 (uncertain).
        split: the name that was asked for. published: counts per split where there are any.
        warnings: what a reader of figures must know. notes: what was found and checked.
        info: more for prepare.json.
    """

    schema: AttributeSchema
    root: Path
    images: Sequence[str]
    splits: NDArray[np.str_]
    persons: NDArray[np.str_]
    labels: NDArray[np.int8]
    split: str
    published: dict[str, int] | None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


def official_partition(split: str, dataset: str) -> int:
    """The number of "official:0" to "official:4"; "official" is the first.

    Raises:
        UsageError: none of them.
    """
    match = re.fullmatch(r"official(?::([0-4]))?", split)
    if match is None:
        hint = f"{dataset} has official:0 to official:4 (the default is official:0)."
        raise UsageError(f'Unknown split "{split}".', hint)
    return int(match[1] or 0)


def find_file(source: Path, name: str, dataset: str, folders: Sequence[str] = ()) -> Path:
    """A file that the source is, or that lies in it or in one of its usual subfolders.

    Raises:
        InputError: it is nowhere there; the message says where it was looked for.
    """
    source = Path(source).expanduser()
    if source.is_file() and source.suffix == Path(name).suffix:
        return source
    if not source.is_dir():
        raise InputError(f"No such folder: {source}.", f"Name the folder of the {dataset} download that holds {name}.")
    for folder in ("", *folders):
        if (source / folder / name).is_file():
            return source / folder / name
    raise InputError(
        f"{source} is no {dataset} download: {name} is neither in it nor in {', '.join(folders) or 'a subfolder'}.",
        f"Name the folder that holds {name}, as downloaded.",
    )


def partition_splits(
    partitions: Sequence[Mapping[str, NDArray[np.int64]]], number: int, parts: Mapping[str, str], count: int, file: Path
) -> NDArray[np.str_]:
    """The split of each of `count` images in one of a file's partitions; "unused" for those in none of its parts.

    Args:
        partitions: positions (from 0) per part. parts: the file's name of a part -> the split's name.

    Raises:
        InputError: the file has no partition of that number.
    """
    if number >= len(partitions):
        raise InputError(f"{file} has {len(partitions)} partitions; official:{number} is not among them.")
    splits = np.full(count, "unused", dtype="U6")
    for part, split in parts.items():
        splits[partitions[number][part]] = split
    return splits


def find_rap_images(file: Path, images: Sequence[str]) -> Path:
    """The folder of RAP's images: RAP_dataset beside the annotation or its folder, or one of these two."""
    above, here = file.parent.parent, file.parent
    return find_image_root((above / "RAP_dataset", here / "RAP_dataset", above, here), images)


def find_image_root(places: Sequence[Path], images: Sequence[str]) -> Path:
    """The first of some folders that holds one of the images; the first of all where none does."""
    sample = images[:: max(1, len(images) // 50)]
    for place in places:
        if any((place / image).is_file() for image in (*images[:20], *sample)):
            return place
    return places[0]


def rare_attributes(schema: AttributeSchema, labels: NDArray[np.int8], splits: NDArray[np.str_]) -> list[str]:
    """A warning that names the evaluated attributes with few positives in train; empty without any."""
    evaluated = [position for position, attribute in enumerate(schema.attributes) if attribute.evaluated]
    shares = (labels[np.flatnonzero(splits == "train")][:, evaluated] == 1).mean(axis=0)
    rare = [
        f"{schema.attributes[position].name} {100 * share:.1f} %"
        for position, share in zip(evaluated, shares, strict=True)
        if share < RARE
    ]
    if not rare:
        return []
    return [f"Rare in train (under {RARE:.0%}), so their figures vary much from run to run: {', '.join(rare)}."]
