"""What a `focus prepare` command has done, for the command line to print."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PrepareReport:
    """A prepared dataset folder in figures and words.

    Attributes:
        path: the dataset folder that was written.
        name: the dataset's name as in its schema.
        images, attributes, evaluated: how many of each; `evaluated` is a part of `attributes`.
        counts: images per split, e.g. {"train": 9500, "val": 1900, "test": 7600}.
        published: the same counts as published, or None where nothing was published for this split.
        warnings: what a reader of figures measured on this dataset must know.
        notes: what was done and checked, one line each.
        seconds: wall time of the preparation.
    """

    path: Path
    name: str
    images: int
    attributes: int
    evaluated: int
    counts: dict[str, int]
    published: dict[str, int] | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
