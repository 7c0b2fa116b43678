"""What a reader hands over, and what the readers of official downloads share: finding files, partitions, warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import UNCERTAIN, AttributeSchema
from focuscli.errors import InputError, UsageError

RARE = 0.02
PARTITIONS_OVERLAP = "The five partitions overlap: never test on one what was trained on another."


@dataclass(frozen=True, eq=False)
class Annotations:
    """A dataset of N images before anything is written.

    Attributes:
        schema: with the attributes in the order of `labels`.
        root: the folder that `images` are relative to.
        images: N names. splits, persons: [N], "" = unknown person.
        labels: [N, A] int8; 0, 1 or 2 (uncertain).
        split: the name of the division into splits. published: counts per split, if there are any.
        warnings: what readers of metrics must know. notes: what was found and checked.
        info: more for prepare.json.
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
    info: dict[str, Any] = field(default_factory=dict)


def official_partition(split: str, known: str) -> int:
    """The number of "official:0" to "official:4"; "official" is the first. `known` lists the dataset's splits.

    Raises:
        UsageError: none of them.
    """
    match = re.fullmatch(r"official(?::([0-4]))?", split)
    if match is None:
        raise UsageError(f'Unknown split "{split}".', f"Known: {known} (the default is official:0).")
    return int(match[1] or 0)


def find_file(source: Path, name: str, dataset: str, folders: Sequence[str] = ()) -> Path:
    """A file that is the source itself, or is in it or in one of its usual subfolders.

    Raises:
        InputError: there is no such file; the message says where it was looked for.
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
        f"{source} is not a {dataset} download: {name} is neither in it nor in {', '.join(folders) or 'a subfolder'}.",
        f"Name the folder that holds {name}, as downloaded.",
    )


def find_image_root(places: Sequence[Path], images: Sequence[str]) -> Path:
    """The first of some folders that holds one of the images; the first of all if none does."""
    sample = images[:: max(1, len(images) // 50)]
    for place in places:
        if any((place / image).is_file() for image in (*images[:20], *sample)):
            return place
    return places[0]


def find_rap_images(file: Path, images: Sequence[str]) -> Path:
    """The folder of RAP's images: RAP_dataset beside the annotation or its folder, or one of these two."""
    above, here = file.parent.parent, file.parent
    return find_image_root((above / "RAP_dataset", here / "RAP_dataset", above, here), images)


def slashed(counts: dict[str, int]) -> str:
    """Counts as "80,000 / 10,000 / 10,000"."""
    return " / ".join(f"{count:,}" for count in counts.values())


def other_counts(name: str, splits: NDArray[np.str_], published: dict[str, int]) -> list[str]:
    """A warning if the splits have other sizes than the published ones; empty if they agree."""
    counts = {part: int((splits == part).sum()) for part in published}
    if counts == published:
        return []
    here = slashed(counts)
    return [f"{name} has {slashed(published)} images; this file says {here}. Published metrics do not compare."]


def uncertain_columns(schema: AttributeSchema, labels: NDArray[np.int8]) -> list[str]:
    """The attributes with at least one uncertain label."""
    columns = np.flatnonzero((labels == UNCERTAIN).any(axis=0))
    return [schema.attributes[column].name for column in columns]


def rare_attributes(schema: AttributeSchema, labels: NDArray[np.int8], splits: NDArray[np.str_]) -> list[str]:
    """A warning that names the evaluated attributes with few positives in train; empty without any."""
    shares = (labels[splits == "train"] == 1).mean(axis=0)
    rare = [
        f"{attribute.name} {100 * share:.1f} %"
        for attribute, share in zip(schema.attributes, shares, strict=True)
        if attribute.evaluated and share < RARE
    ]
    if not rare:
        return []
    return [f"Rare in train (under {RARE:.0%}), so that their metrics vary a lot between runs: {', '.join(rare)}."]
