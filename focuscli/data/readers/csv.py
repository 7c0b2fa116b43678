"""A user's own table of labels, with any words for yes, no and unknown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.coding import Coding, read_cells, read_classes
from focuscli.data.image_names import check_image_names, match_images
from focuscli.data.labels_csv import OTHER_COLUMN, check_splits
from focuscli.data.readers.annotations import Annotations
from focuscli.data.schema import AttributeSchema, column_of, guess_schema, load_schema
from focuscli.data.splits import identity_split, known_persons
from focuscli.data.table import Table, read_table, with_roles
from focuscli.errors import InputError
from focuscli.storage.paths import argument

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
_SPLIT_ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}

SCHEMA_COMMENT = """\
Guessed from the names of the columns by focus prepare. Please read and correct it:

phrase    what a person would say; the model reads "a {region} feature of {category} is {phrase}."
region    head, upper, lower, foot, bag or whole; whole may have a subregion (age, gender, view, body, role, action)
group     attributes of which usually one holds; add complements = ["female"] to a group for "none of these"
evaluated = false keeps a column's labels but excludes it from training and metrics"""


def read_csv(
    path: Path,
    *,
    images: Path | None = None,
    schema: Path | None = None,
    coding: Coding | None = None,
    classes: Sequence[str] = (),
    encoding: str | None = None,
) -> Annotations:
    """Read a table with a column of image names, perhaps one of splits and one of persons, and a column per attribute.

    Args:
        images: the folder that the images' names are relative to; by default `images` beside the table, or its folder.
        schema: a schema.toml; by default one is guessed from the columns' names.
        coding: the words for present, absent and unknown; by default 1 and 0, and 2 where it is rare.
        classes: columns whose values are classes: each value becomes an attribute, those of a column one group.
        encoding: of a table that is neither UTF-8 nor marked as UTF-16.

    Raises:
        InputError: the table contradicts itself, the schema or the images; the message names line and column.
    """
    coding = coding or Coding()
    paths = {"--schema": schema, "--images": images}
    given = {option: argument(folder) for option, folder in paths.items() if folder}
    given |= {"--classes": shlex.quote(",".join(classes))} if classes else {}
    given |= {"--encoding": shlex.quote(encoding)} if encoding else {}

    def command(without: str) -> str:
        """What reads the table, for hints that add the option `without` to it, or "coding" those of a coding."""
        options = [f"{option} {value}" for option, value in given.items() if option != without]
        options += [coding.options()] if without != "coding" else []
        return " ".join(["focus prepare csv", argument(path), *filter(None, options)])

    declared = load_schema(schema) if schema else None
    columns = [*map(column_of, declared.attributes)] if declared else []
    table = with_roles(read_table(path, encoding=encoding, command=command("--encoding")), columns)
    notes = list(table.notes)
    names = table.column("image")
    found = {column: read_classes(table, column, coding, command("coding")) for column in classes}
    if declared is None:
        declared, columns = _guessed(path, table, {column: values for column, (values, _) in found.items()})
        notes.append("schema.toml is guessed from the names of the columns; read it before you train")
        if camera := table.roles.get("camera"):
            notes.append(f'column "{camera}" is taken as the camera and left out; rename it if it is an attribute')
    labels = _labels(table, columns, found, coding, command("coding"))
    folders = [images] if images else [path.parent / "images", path.parent]
    if images and not images.is_dir():
        raise InputError(
            f"There is no folder {images}.", f"Name the folder of the images: {command('--images')} --images FOLDER"
        )
    root, files, matched = match_images(names, folders, command("--images"))
    hint = f"Name the folder that holds all images: {command('--images')} --images FOLDER"
    check_image_names(files, table.places, root, hint)
    persons = known_persons(table.column("person") if "person" in table.roles else [""] * len(files))
    if "split" in table.roles:
        splits = [_SPLIT_ALIASES.get(split.casefold(), split.casefold()) for split in table.column("split")]
        check_splits(splits, table.places)
        parts, how = np.array(splits, np.str_), "as in the table"
    else:
        parts = identity_split(persons, SPLIT_FRACTIONS, seed=0)
        how = "no person in two parts" if (persons != "").any() else "image by image: there is no column person"
        how = f"random: 70% train, 10% val, 20% test, {how}"
    comment = "" if schema else SCHEMA_COMMENT
    return Annotations(declared, root, files, parts, persons, labels, how, notes=[*notes, *matched], comment=comment)


def _class_columns(column: str, values: Sequence[str]) -> list[str]:
    return [f"{column} {value}" for value in values]


def _guessed(path: Path, table: Table, classes: dict[str, list[str]]) -> tuple[AttributeSchema, list[str]]:
    """A schema for the table's columns, and the columns: those of classes are one for each value, in a group of their own."""
    columns: list[str] = []
    groups: dict[str, str] = {}
    for name in table.header:
        if name in classes:
            columns += _class_columns(name, classes[name])
            groups |= dict.fromkeys(_class_columns(name, classes[name]), name)
        elif name not in table.roles.values():
            columns.append(name)
    return guess_schema(path.stem, columns, str(path), groups), columns


def _labels(
    table: Table,
    columns: Sequence[str],
    classes: dict[str, tuple[list[str], NDArray[np.int8]]],
    coding: Coding,
    command: str,
) -> NDArray[np.int8]:
    """The labels [N, A] of the columns, of which some are made of classes."""
    made = {
        name: labels[:, number]
        for column, (values, labels) in classes.items()
        for number, name in enumerate(_class_columns(column, values))
    }
    plain = [column for column in columns if column not in made]
    read = read_cells(table, plain, coding, command, OTHER_COLUMN)
    made |= {column: read[:, number] for number, column in enumerate(plain)}
    return np.stack([made[column] for column in columns], axis=1)
