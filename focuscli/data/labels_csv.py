"""labels.csv: one line per image with its split, its person and one cell per attribute."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PureWindowsPath
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from focuscli.data.attributes import Attribute, AttributeSchema, column_of
from focuscli.errors import InputError

FIXED_COLUMNS = ("image", "split", "person")
SPLITS = ("train", "val", "test", "unused")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, eq=False)
class Labels:
    """The content of a labels.csv.

    Attributes:
        images: N paths relative to the image root, with forward slashes.
        splits: [N], each one of `SPLITS`. persons: [N], "" = unknown.
        cells: [N, A] int8 in schema order: 0, 1 or 2 (uncertain).
    """

    images: tuple[str, ...]
    splits: NDArray[np.str_]
    persons: NDArray[np.str_]
    cells: NDArray[np.int8]


def read_table(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows and the rows' line numbers of a CSV file (UTF-8 with or without byte order mark, any line ends).

    Raises:
        InputError: not there, not UTF-8, no header, a repeated column, or a row of another length than the header.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}).",
            f"Convert it with: iconv -f latin1 -t utf-8 {path}",
        ) from error
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror or error}.", "A dataset is a folder with schema.toml and labels.csv."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] = []
    try:
        for row in reader:
            if not row:
                continue
            if not header:
                header = [name.strip() for name in row]
                continue
            if len(row) != len(header):
                raise InputError(f"{path} line {reader.line_num}: {len(row)} cells, but the header has {len(header)}.")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"{path} line {reader.line_num}: {error}.", "It must be plain comma-separated text."
        ) from error
    if not header:
        raise InputError(f"{path} is empty.", "Its first line must be: image,split,person,ATTRIBUTE,...")
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise InputError(f'{path}: column "{repeated[0]}" stands there {header.count(repeated[0])} times.')
    return header, rows, lines


def read_labels(path: Path, schema: AttributeSchema) -> Labels:
    """Read labels.csv; columns that the schema does not name are left alone.

    Raises:
        InputError: see `read_table`; a column is missing; a cell is not 0, 1 or 2; an image repeats or lies outside the
            image root; an unknown split.
    """
    header, rows, lines = read_table(path)
    for name in FIXED_COLUMNS:
        if name not in header:
            separator = next((mark for mark in ";\t" if mark in header[0]), None)
            hint = f"Cells must be separated by commas, not by {separator!r}." if separator else _near(name, header)
            raise InputError(f'{path} has no column "{name}".', hint)
    for attribute in schema.attributes:
        if column_of(attribute) not in header:
            refuse_missing(path, attribute, header, path.parent / "schema.toml")
    if not rows:
        raise InputError(f"{path} has a header but no images.")
    columns = [header.index(column_of(attribute)) for attribute in schema.attributes]
    cells = _read_cells(path, rows, lines, header, columns)
    images, splits, persons = ([row[header.index(name)].strip() for row in rows] for name in FIXED_COLUMNS)
    for split in sorted(set(splits) - set(SPLITS)):
        line = lines[splits.index(split)]
        raise InputError(f'{path} line {line}: split "{split}" is none of {", ".join(SPLITS)}.', _near(split, SPLITS))
    check_image_names(images, [f"{path} line {line}" for line in lines])
    return Labels(tuple(images), np.array(splits, np.str_), np.array(persons, np.str_), cells)


def format_labels(schema: AttributeSchema, labels: Labels) -> str:
    """`labels` as the text of a labels.csv; `read_labels` reads back the same."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIXED_COLUMNS, *map(column_of, schema.attributes)])
    for image, split, person, row in zip(
        labels.images, labels.splits.tolist(), labels.persons.tolist(), labels.cells.tolist(), strict=True
    ):
        writer.writerow([image, split, person, *row])
    return text.getvalue()


def check_image_names(images: Sequence[str], places: Sequence[str]) -> None:
    """Refuse names that are empty, repeat, or lead out of the image root; `places` say where each one stands.

    Raises:
        InputError: names the first such image and its place.
    """
    seen: dict[str, str] = {}
    for image, place in zip(images, places, strict=True):
        if not image or _CONTROL.search(image):
            raise InputError(f"{place}: {image!r} is no file name.")
        # Read as a Windows path, both kinds of separator and drive letters count, whatever the machine.
        path = PureWindowsPath(image)
        if path.anchor or ".." in path.parts:
            raise InputError(
                f'{place}: "{image}" leads out of the folder of images.',
                "Paths are relative to image_root in schema.toml; set that to the folder that holds all images.",
            )
        if image in seen:
            raise InputError(f'{place}: image "{image}" stands there a second time (first: {seen[image]}).')
        seen[image] = place


def _read_cells(
    path: Path, rows: list[list[str]], lines: list[int], header: list[str], columns: list[int]
) -> NDArray[np.int8]:
    """The label cells [N, A], all at once where every cell is 0, 1 or 2; else cell by cell, to find what is not."""
    pick = itemgetter(*columns)
    width = 2 * len(columns) - 1
    joined = [",".join(pick(row)) for row in rows]
    if all(len(line) == width for line in joined):
        flat = "".join(joined).encode("ascii", "replace")
        # A row of this width with a digit at each even place can have its commas nowhere but at the odd ones.
        values = np.frombuffer(flat, np.uint8).reshape(len(rows), width)[:, ::2] - ord("0")
        if (values <= 2).all():
            return values.astype(np.int8)
    result = np.zeros((len(rows), len(columns)), np.int8)
    bad: list[tuple[int, str, str]] = []
    for number, row in enumerate(rows):
        for position, column in enumerate(columns):
            cell = row[column].strip()
            if cell in ("0", "1", "2"):
                result[number, position] = int(cell)
            else:
                bad.append((lines[number], header[column], cell))
    if bad:
        _refuse_cells(path, bad)
    return result


def _refuse_cells(path: Path, bad: list[tuple[int, str, str]]) -> NoReturn:
    line, column, cell = bad[0]
    what = f'"{cell}" is not 0 or 1' if cell else "the cell is empty, not 0 or 1"
    more = f" ({len(bad) - 1:,} more like it.)" if len(bad) > 1 else ""
    word = cell if cell and " " not in cell else "yes"
    raise InputError(
        f'{path} line {line}, column "{column}": {what} (2 = uncertain).{more}',
        f"Convert with: focus prepare csv {path} --out FOLDER --true {word} --false no"
        if cell
        else "Fill it in; an uncertain label is 2.",
    )


def refuse_missing(path: Path, attribute: Attribute, header: list[str], place: Path) -> NoReturn:
    """Say that an attribute of the schema in `place` has no column in the table `path`, and which come near.

    Raises:
        InputError: always.
    """
    wanted = column_of(attribute)
    free = [name for name in header if name not in FIXED_COLUMNS]
    lowered = {name.lower(): name for name in free}
    close = [lowered[name] for name in difflib.get_close_matches(wanted.lower(), list(lowered), n=3, cutoff=0.5)]
    if close:
        quoted = ", ".join(f'"{name}"' for name in close)
        problem = f"Closest: {quoted}."
        hint = f'Set column = "{close[0]}" under it in schema.toml, if that is the one.'
    else:
        problem = f"Columns there: {', '.join(free[:8]) or 'none'}{', ...' if len(free) > 8 else ''}."
        hint = "Add the column, or take the attribute out of schema.toml."
    named = f' (column = "{wanted}")' if attribute.column else ""
    raise InputError(f'{place}: attribute "{attribute.name}"{named} has no column in {path.name}. {problem}', hint)


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known[:8])}."
