"""A user's own table of labels, in whatever words it says yes and no."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.guess import guess_schema
from focuscli.data.labels_csv import FIXED_COLUMNS, SPLITS, Labels, check_image_names, read_table, refuse_missing
from focuscli.data.schema import UNCERTAIN, AttributeSchema, column_of, load_schema
from focuscli.data.splits import identity_split, shared_persons
from focuscli.errors import InputError

SPLIT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT_SEED = 0
_SPLIT_ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}

SCHEMA_COMMENT = """\
Guessed from the names of the columns by focus prepare csv. Please read and correct it:

phrase    what a person would say; the model reads "a {region} feature of {category} is {phrase}."
region    where to look: head, upper, lower, foot, bag or whole; whole may have a subregion (age, gender, view, body,
          role, action)
group     attributes of which usually one holds; add complements = ["female"] to a group for "none of these"
evaluated = false keeps a column's labels but leaves it out of training and figures"""


@dataclass(frozen=True, eq=False)
class CsvSource:
    """The content of a table with the folder of its images.

    Attributes:
        schema: with `image_root` set to `root`.
        split: how the splits came about.
    """

    schema: AttributeSchema
    labels: Labels
    root: Path
    split: str
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_csv_source(
    table: Path, name: str, *, images: Path | None, schema: Path | None, true: str, false: str
) -> CsvSource:
    """Read a table; see `prepare_csv` for the arguments.

    Raises:
        InputError: the table contradicts itself, the schema or the images; the message names line and column.
    """
    header, rows, lines = read_table(table)
    if "image" not in header:
        close = difflib.get_close_matches("image", header, n=1)
        hint = f'Rename the column "{close[0]}"?' if close else f"Its columns: {', '.join(header[:8])}."
        raise InputError(f'{table} has no column "image" with the image files.', hint)
    if not rows:
        raise InputError(f"{table} has a header but no images.")
    notes: list[str] = []
    if "" in header:
        notes.append("left out a column without a name (the index that some programs write)")
    declared = load_schema(schema) if schema else guess_schema(name, _attribute_columns(table, header))
    cells = _cells(table, header, rows, lines, declared, schema, (true, false))
    files = [row[header.index("image")].strip().replace("\\", "/") for row in rows]
    root = _image_root(table, files, images)
    files = [_relative(file, root) for file in files]
    check_image_names(files, [f"{table} line {line}" for line in lines])
    persons = np.array(
        [row[header.index("person")].strip() for row in rows] if "person" in header else [""] * len(rows)
    )
    splits, how = _splits(table, header, rows, lines, persons)
    warnings = _about_persons(persons, splits, given="split" in header)
    if not schema:
        notes.append("schema.toml is guessed from the names of the columns; read it before you train")
    return CsvSource(
        declared.model_copy(update={"image_root": str(root)}),
        Labels(tuple(files), splits, persons, cells),
        root,
        how,
        warnings,
        notes,
    )


def _attribute_columns(table: Path, header: list[str]) -> list[str]:
    columns = [name for name in header if name and name not in FIXED_COLUMNS]
    if not columns:
        raise InputError(
            f"{table} has no attribute columns beside {', '.join(header)}.", "Add one column per attribute."
        )
    unprintable = [name for name in columns if not name.isprintable()]
    if unprintable:
        raise InputError(f"{table}: column {unprintable[0]!r} has unprintable characters in its name.", "Rename it.")
    return columns


def _cells(
    table: Path,
    header: list[str],
    rows: list[list[str]],
    lines: list[int],
    schema: AttributeSchema,
    schema_file: Path | None,
    words: tuple[str, str],
) -> NDArray[np.int8]:
    true, false = (_plain(word) for word in words)
    if true == false:
        raise InputError(
            f'"{words[0]}" cannot stand for both yes and no.', "Give different words: --true yes --false no"
        )
    values = {true: 1, false: 0}
    if (true, false) == ("1", "0"):
        values["2"] = UNCERTAIN
    cells = np.zeros((len(rows), len(schema.attributes)), np.int8)
    bad: list[tuple[int, str, str]] = []
    for position, attribute in enumerate(schema.attributes):
        if column_of(attribute) not in header:
            refuse_missing(table, attribute, header, schema_file or table)
        column = header.index(column_of(attribute))
        for number, row in enumerate(rows):
            value = values.get(_plain(row[column]))
            if value is None:
                bad.append((lines[number], header[column], row[column].strip()))
            else:
                cells[number, position] = value
    if bad:
        line, column_name, cell = min(bad)
        more = f" ({len(bad) - 1:,} more like it.)" if len(bad) > 1 else ""
        what = f'"{cell}" is' if cell else "the cell is empty,"
        raise InputError(
            f'{table} line {line}, column "{column_name}": {what} not {words[0]} or {words[1]}.{more}',
            "Say what stands for yes and no (--true yes --false no); a column that is no attribute is left out by "
            "--schema, or by deleting it.",
        )
    return cells


def _plain(cell: str) -> str:
    """A cell without case, outer spaces, and the ".0" that programs add to whole numbers beside empty cells."""
    return cell.strip().casefold().removesuffix(".0")


def _image_root(table: Path, files: list[str], images: Path | None) -> Path:
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(
                f"No folder {images} with the images.", "Give the folder that the column image starts from."
            )
        return Path(images).resolve()
    places = [table.parent / "images", table.parent]
    for place in places:
        if (place / files[0]).is_file():
            return place.resolve()
    looked = " and ".join(str(place) for place in places)
    raise InputError(f"{table}: image {files[0]} is not there (looked in {looked}).", "Say where: --images FOLDER")


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return file


def _splits(
    table: Path, header: list[str], rows: list[list[str]], lines: list[int], persons: NDArray[np.str_]
) -> tuple[NDArray[np.str_], str]:
    if "split" not in header:
        splits = identity_split(persons, SPLIT_FRACTIONS, SPLIT_SEED)
        who = "no person in two parts" if (persons != "").any() else "image by image: there is no column person"
        return splits, f"drawn here: 70 % train, 10 % val, 20 % test, {who}"
    said = [row[header.index("split")].strip().casefold() for row in rows]
    splits_list = [_SPLIT_ALIASES.get(name, name) for name in said]
    for name, line in zip(splits_list, lines, strict=True):
        if name not in SPLITS:
            close = difflib.get_close_matches(name, SPLITS, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Leave the column out to have one drawn."
            raise InputError(f'{table} line {line}: split "{name}" is none of {", ".join(SPLITS)}.', hint)
    return np.array(splits_list, np.str_), "as in the table"


def _about_persons(persons: NDArray[np.str_], splits: NDArray[np.str_], *, given: bool) -> list[str]:
    if not (persons != "").any():
        return ["No column person: the same person may be in train and test, which makes figures better than they are."]
    train = np.flatnonzero(np.isin(splits, ("train", "val")))
    shared, count, images = shared_persons(persons, train, np.flatnonzero(splits == "test"))
    if given and shared:
        return [f"{shared:,} of {count:,} persons in test, with {images:,} images, are also in train or val."]
    return []
