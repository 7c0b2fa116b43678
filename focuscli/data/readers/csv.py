"""A user's own table of labels, with any pair of words for yes and no."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.labels_csv import FIXED_COLUMNS, Table, check_image_names, check_splits, read_table
from focuscli.data.readers.annotations import Annotations
from focuscli.data.schema import UNCERTAIN, guess_schema, load_schema
from focuscli.data.splits import identity_split, shared_persons
from focuscli.errors import InputError, did_you_mean

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT_SEED = 0
_SPLIT_ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}

SCHEMA_COMMENT = """\
Guessed from the names of the columns by focus prepare csv. Please read and correct it:

phrase    what a person would say; the model reads "a {region} feature of {category} is {phrase}."
region    head, upper, lower, foot, bag or whole; whole may have a subregion (age, gender, view, body, role, action)
group     attributes of which usually one holds; add complements = ["female"] to a group for "none of these"
evaluated = false keeps a column's labels but excludes it from training and metrics"""


def read_csv(
    path: Path, name: str, *, images: Path | None = None, schema: Path | None = None, true: str = "1", false: str = "0"
) -> Annotations:
    """Read a table with the column `image`, optionally `split` and `person`, and a column per attribute.

    Args:
        name: of the dataset, for a guessed schema.
        images: the folder that the column `image` is relative to; by default `images` beside the table, or its folder.
        schema: a schema.toml; by default one is guessed from the columns' names.
        true, false: what stands for 1 and 0; with "1" and "0", 2 stands for uncertain.

    Raises:
        InputError: the table contradicts itself, the schema or the images; the message names line and column.
    """
    table = read_table(path)
    if "image" not in table.header:
        raise InputError(f'{path} has no column "image" with the image files.', did_you_mean("image", table.header))
    values = {_plain(false): 0, _plain(true): 1}
    if len(values) == 1:
        raise InputError(f'"{true}" cannot mean both yes and no.', "Give different words: --true yes --false no")
    if values == {"0": 0, "1": 1}:
        values["2"] = UNCERTAIN
    declared = load_schema(schema) if schema else guess_schema(name, _attribute_columns(table))
    labels = table.cells(
        declared,
        values,
        schema_file=schema or path,
        wanted=f"{true} or {false}",
        hint="Name the words for yes and no (--true WORD --false no). To exclude a column that is not an attribute, "
        "delete it or give a --schema without it.",
        normalise=_plain,
    )
    files = [file.replace("\\", "/") for file in table.column("image")]
    root = _image_root(path, files, images)
    files = [_relative(file, root) for file in files]
    check_image_names(files, table.places)
    persons = np.array(table.column("person") if "person" in table.header else [""] * len(files), np.str_)
    splits, how = _splits(table, persons)
    notes = []
    if "" in table.header:
        notes.append("ignored a column without a name (the index that some programs write)")
    if not schema:
        notes.append("schema.toml is guessed from the names of the columns; read it before you train")
    return Annotations(
        declared.model_copy(update={"image_root": str(root)}),
        root,
        files,
        splits,
        persons,
        labels,
        how,
        warnings=_warnings(persons, splits, given="split" in table.header),
        notes=notes,
    )


def _plain(cell: str) -> str:
    """A cell without case, outer spaces, and the ".0" that programs add to whole numbers beside empty cells."""
    return cell.strip().casefold().removesuffix(".0")


def _attribute_columns(table: Table) -> list[str]:
    columns = [name for name in table.header if name and name not in FIXED_COLUMNS]
    if not columns:
        raise InputError(
            f"{table.path} has no attribute columns beside {', '.join(table.header)}.", "Add one column per attribute."
        )
    unprintable = [name for name in columns if not name.isprintable()]
    if unprintable:
        raise InputError(
            f"{table.path}: column {unprintable[0]!r} has unprintable characters in its name.", "Rename it."
        )
    return columns


def _image_root(path: Path, files: list[str], images: Path | None) -> Path:
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(
                f"No folder {images} with the images.", "Give the folder that the column image is relative to."
            )
        return Path(images).resolve()
    places = [path.parent / "images", path.parent]
    for place in places:
        if (place / files[0]).is_file():
            return place.resolve()
    looked = " and ".join(str(place) for place in places)
    raise InputError(f"{path}: image {files[0]} is not there (looked in {looked}).", "Name the folder: --images FOLDER")


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return file


def _splits(table: Table, persons: NDArray[np.str_]) -> tuple[NDArray[np.str_], str]:
    """The split of each row, and how it came about."""
    if "split" not in table.header:
        splits = identity_split(persons, SPLIT_FRACTIONS, SPLIT_SEED)
        how = "no person in two parts" if (persons != "").any() else "image by image: there is no column person"
        return splits, f"random: 70 % train, 10 % val, 20 % test, {how}"
    names = [_SPLIT_ALIASES.get(name.casefold(), name.casefold()) for name in table.column("split")]
    check_splits(names, table.places)
    return np.array(names, np.str_), "as in the table"


def _warnings(persons: NDArray[np.str_], splits: NDArray[np.str_], *, given: bool) -> list[str]:
    if not (persons != "").any():
        return ["No column person: the same person may be in train and test, which makes metrics look better."]
    train = np.flatnonzero(np.isin(splits, ("train", "val")))
    shared, count, images = shared_persons(persons, train, np.flatnonzero(splits == "test"))
    if given and shared:
        return [f"{shared:,} of {count:,} persons in test, with {images:,} images, are also in train or val."]
    return []
