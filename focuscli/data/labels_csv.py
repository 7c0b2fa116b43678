"""labels.csv: one line per image with its split, its person and one cell per attribute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.coding import STORED, read_cells
from focuscli.data.image_names import check_image_names
from focuscli.data.schema import AttributeSchema, column_of
from focuscli.data.splits import known_persons
from focuscli.data.table import format_table, read_table, with_roles
from focuscli.errors import InputError, did_you_mean
from focuscli.storage.paths import argument

FIXED_COLUMNS = ("image", "split", "person")
SPLITS = ("train", "val", "test", "unused")
Labels = tuple[tuple[str, ...], NDArray[np.str_], NDArray[np.str_], NDArray[np.int8]]
"""Images (N paths relative to the image root, with forward slashes), splits [N] (each one of `SPLITS`), persons [N] ("" =
unknown), and labels [N, A] in schema order: 0, 1 or 2 (uncertain)."""
OTHER_COLUMN = 'Another: column = "NAME" under the attribute in schema.toml.'


def read_labels(path: Path, schema: AttributeSchema) -> Labels:
    """Read labels.csv; columns that the schema does not name are ignored.

    Raises:
        InputError: see `read_table`; a column is missing; a cell is not 0, 1 or 2; an image repeats or lies outside the
            image root; an unknown split.
    """
    columns = [*map(column_of, schema.attributes)]
    table = with_roles(read_table(path), columns)
    images = [image.replace("\\", "/") for image in table.column("image")]
    splits, persons = table.column("split"), known_persons(table.column("person"))
    labels = read_cells(table, columns, STORED, f"focus prepare csv {argument(path)} --out FOLDER", OTHER_COLUMN)
    check_splits(splits, table.places)
    check_image_names(images, table.places)
    return tuple(images), np.array(splits, np.str_), persons, labels


def format_labels(schema: AttributeSchema, content: Labels) -> str:
    """`content` as the text of a labels.csv; `read_labels` reads back the same."""
    images, splits, persons, labels = content
    rows = zip(images, splits.tolist(), persons.tolist(), labels.tolist(), strict=True)
    header = [*FIXED_COLUMNS, *map(column_of, schema.attributes)]
    return format_table([header, *([image, split, person, *row] for image, split, person, row in rows)])


def check_splits(splits: Sequence[str], places: Sequence[str]) -> None:
    """Refuse names other than `SPLITS`; `places` tell where each one is.

    Raises:
        InputError: names the first such split and its place.
    """
    for split, place in zip(splits, places, strict=True):
        if split not in SPLITS:
            hint = did_you_mean(split, SPLITS) if split else "Write unused for images that are in no split."
            raise InputError(f'{place}: split "{split}" is none of {", ".join(SPLITS)}.', hint)
