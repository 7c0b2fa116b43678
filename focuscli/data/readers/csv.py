"""A user's own table of labels, with any words for yes, no and unknown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focuscli.data.coding import Coding, read_cells, split_classes
from focuscli.data.image_names import check_image_names, match_images
from focuscli.data.labels_csv import OTHER_COLUMN, check_splits
from focuscli.data.readers.annotations import Annotations
from focuscli.data.schema import column_of, guess_schema, load_schema
from focuscli.data.splits import identity_split, known_persons
from focuscli.data.table import read_table, with_roles
from focuscli.errors import InputError, plural
from focuscli.storage.paths import argument

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
_SPLIT_ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}
_SPLIT_ALIASES |= {"query": "test", "gallery": "test"}  # as in sets for re-identification

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
        """This command, for hints that add the option `without`, or the options of a coding ("coding")."""
        options = [f"{option} {value}" for option, value in given.items() if option != without]
        options += [coding.options()] if without != "coding" else []
        return " ".join(["focus prepare csv", argument(path), *filter(None, options)])

    declared = load_schema(schema) if schema else None
    columns = [*map(column_of, declared.attributes)] if declared else []
    table = read_table(path, encoding=encoding, command=command("--encoding"))
    table = with_roles(table, [*columns, *classes])
    names, notes = table.column("image"), list(table.notes)
    if len(names) > 1.5 * len({*names}):
        problem = f"{path}: {len(names):,} rows are of {plural(len({*names}), 'image')}; each image has one row."
        how = "Write a 0/1 column for each attribute, as pandas does: crosstab(df.image, df.attribute)"
        raise InputError(problem, how)
    table, groups = split_classes(table, classes, coding, command("coding"))
    if declared is None:
        alike = {name.casefold(): name for name in table.header}
        if other := next((name for name in table.header if alike[name.casefold()] != name), None):
            raise InputError(f'{path}: columns are named "{other}" and "{alike[other.casefold()]}".', "Rename one.")
        columns = [name for name in table.header if name not in table.roles.values()]
        declared = guess_schema(path.stem, columns, str(path), groups)
        notes.append("schema.toml is guessed from the names of the columns; read it before you train")
        if camera := table.roles.get("camera"):
            notes.append(f'column "{camera}" is taken as the camera and left out; rename it if it is an attribute')
    labels = read_cells(table, columns, coding, command("coding"), OTHER_COLUMN)
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
        check_splits(splits, [f'{place}, column "{table.roles["split"]}"' for place in table.places])
        parts, how = np.array(splits, np.str_), "as in the table"
    else:
        parts = identity_split(persons, SPLIT_FRACTIONS, seed=0)
        how = "no person in two parts" if (persons != "").any() else "image by image: there is no column person"
        how = f"random: 70% train, 10% val, 20% test, {how}"
    comment = "" if schema else SCHEMA_COMMENT
    return Annotations(declared, root, files, parts, persons, labels, how, notes=[*notes, *matched], comment=comment)
