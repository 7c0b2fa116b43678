"""What a dataset folder holds, counted and checked several times faster than by reading it: for lists and `focus doctor`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from focuscli.data.folder import LABELS_FILE, SCHEMA_FILE, dataset_name, image_root, read_folder, read_info
from focuscli.data.labels_csv import FIXED_COLUMNS, SPLITS
from focuscli.data.schema import AttributeSchema, column_of, load_schema

PLAIN_NAME = r"[\w +=@()-]+(?:[./][\w +=@()-]+)*"
"""A file name about which there is nothing to ask: no other separator, no drive, no `..`, no quotes."""


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset without its labels.

    Attributes:
        name: what outputs call it.
        splits: images per split that has any, in the order train, val, test, unused.
        root: the folder that image paths are relative to.
        labels_only: whether it was prepared without images.
    """

    name: str
    schema: AttributeSchema
    splits: dict[str, int]
    root: Path
    labels_only: bool

    @property
    def images(self) -> int:
        return sum(self.splits.values())


def summarise(path: Path) -> DatasetSummary:
    """Count and check a dataset folder as `read_folder` does, to the last cell of labels.csv.

    Raises:
        InputError: see `read_folder`.
    """
    schema = load_schema(path / SCHEMA_FILE)
    splits = _count_plain(path / LABELS_FILE, schema)
    if splits is None:  # a table of another hand than ours, or a damaged one: that takes the whole reader
        splits = read_folder(path).counts
    info = read_info(path)
    return DatasetSummary(
        dataset_name(path, info), schema, splits, image_root(path, schema), bool(info.get("labels_only"))
    )


def _count_plain(file: Path, schema: AttributeSchema) -> dict[str, int] | None:
    """Images per split of a labels.csv whose every line is as `format_labels` writes it; None for any other file."""
    try:
        header, *lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    columns = [column_of(attribute) for attribute in schema.attributes]
    if header != ",".join([*FIXED_COLUMNS, *columns]) or not lines:
        return None
    line = re.compile(rf"({PLAIN_NAME}),({'|'.join(SPLITS)}),[^,\"]*" + ",[012]" * len(columns), re.ASCII)
    found = [match for match in map(line.fullmatch, lines) if match]
    if len({match[1].strip() for match in found}) < len(lines):  # a line is not plain, or an image is there twice
        return None
    counted = Counter(match[2] for match in found)
    return {name: counted[name] for name in SPLITS if counted[name]}
