"""A user's own table of labels, with any pair of words for yes and no."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focuscli.data.labels_csv import FIXED_COLUMNS, check_image_names, check_splits, read_table
from focuscli.data.readers.annotations import Annotations
from focuscli.data.schema import guess_schema, load_schema
from focuscli.data.splits import identity_split
from focuscli.errors import InputError

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
_SPLIT_ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}

SCHEMA_COMMENT = """\
Guessed from the names of the columns by focus prepare. Please read and correct it:

phrase    what a person would say; the model reads "a {region} feature of {category} is {phrase}."
region    head, upper, lower, foot, bag or whole; whole may have a subregion (age, gender, view, body, role, action)
group     attributes of which usually one holds; add complements = ["female"] to a group for "none of these"
evaluated = false keeps a column's labels but excludes it from training and metrics"""


def read_csv(
    path: Path, *, images: Path | None = None, schema: Path | None = None, true: str = "1", false: str = "0"
) -> Annotations:
    """Read a table with the column `image`, optionally `split` and `person`, and a column per attribute.

    Args:
        images: the folder that the column `image` is relative to; by default `images` beside the table, or its folder.
        schema: a schema.toml; by default one is guessed from the columns' names.
        true, false: what stands for 1 and 0; with "1" and "0", 2 stands for uncertain.

    Raises:
        InputError: the table contradicts itself, the schema or the images; the message names line and column.
    """
    table = read_table(path)
    files = [file.replace("\\", "/") for file in table.column("image")]
    notes = []
    if schema:
        declared = load_schema(schema)
    else:
        # A column without a name is the index that some programs write.
        columns = [column for column in table.header if column and column not in FIXED_COLUMNS]
        declared = guess_schema(path.stem, columns, str(path))
        notes.append("schema.toml is guessed from the names of the columns; read it before you train")
    labels = table.labels(declared, true, false)
    root = _image_root(path, files[0], images)
    files = [Path(file).relative_to(root).as_posix() if Path(file).is_relative_to(root) else file for file in files]
    check_image_names(files, table.places)
    persons = np.array(table.column("person") if "person" in table.header else [""] * len(files), np.str_)
    if "split" in table.header:
        names = [_SPLIT_ALIASES.get(split.casefold(), split.casefold()) for split in table.column("split")]
        check_splits(names, table.places)
        splits, how = np.array(names, np.str_), "as in the table"
    else:
        splits = identity_split(persons, SPLIT_FRACTIONS, seed=0)
        how = "no person in two parts" if (persons != "").any() else "image by image: there is no column person"
        how = f"random: 70% train, 10% val, 20% test, {how}"
    comment = "" if schema else SCHEMA_COMMENT
    return Annotations(declared, root, files, splits, persons, labels, how, notes=notes, comment=comment)


def _image_root(path: Path, first: str, images: Path | None) -> Path:
    places = [images] if images else [path.parent / "images", path.parent]
    for place in places:
        if (place / first).is_file() or (images and place.is_dir()):
            return place.resolve()
    looked = " and ".join(str(place) for place in places)
    raise InputError(f"{path}: image {first} is not there (looked in {looked}).", "Name the folder: --images FOLDER")
