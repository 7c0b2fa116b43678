"""labels.csv: one line per image with its split, its person and one cell per attribute; and tables of labels in general."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.inputs import near_file
from focuscli.data.schema import UNCERTAIN, AttributeSchema, column_of
from focuscli.errors import InputError, did_you_mean

FIXED_COLUMNS = ("image", "split", "person")
SPLITS = ("train", "val", "test", "unused")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Labels = tuple[tuple[str, ...], NDArray[np.str_], NDArray[np.str_], NDArray[np.int8]]
"""Images (N paths relative to the image root, with forward slashes), splits [N] (each one of `SPLITS`), persons [N] ("" =
unknown), and labels [N, A] in schema order: 0, 1 or 2 (uncertain)."""


@dataclass(frozen=True, eq=False)
class Table:
    """A CSV file: its column names, and its rows with the number of the line on which each one ends."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    @property
    def places(self) -> list[str]:
        """Where each row is, for errors."""
        return [f"{self.path} line {line}" for line in self.lines]

    def position(self, name: str, hint: str = "") -> int:
        """Where a column is in each row.

        Raises:
            InputError: there is no such column; `hint` is what else to do about it.
        """
        if name in self.header:
            return self.header.index(name)
        separator = next((mark for mark in ";\t" if mark in self.header[0]), None)
        if separator:
            hint = f"Cells must be separated by commas, not by {separator!r}."
        else:
            hint = f"{did_you_mean(name, self.header)} {hint}".rstrip()
        raise InputError(f'{self.path} has no column "{name}".', hint)

    def column(self, name: str) -> list[str]:
        """A column's cells without surrounding spaces."""
        position = self.position(name)
        return [row[position].strip() for row in self.rows]

    def labels(self, schema: AttributeSchema, true: str = "1", false: str = "0") -> NDArray[np.int8]:
        """The labels [N, A] of the attributes' columns.

        Args:
            true, false: what stands for 1 and 0; with "1" and "0", 2 stands for uncertain.

        Raises:
            InputError: an attribute has no column, a cell is neither word, or both are the same.
        """
        values = {_plain(false): 0, _plain(true): 1}
        if len(values) == 1:
            raise InputError(f'"{true}" cannot mean both yes and no.', "Give different words: --true yes --false no")
        wanted = f"{false} or {true}"
        if values == {"0": 0, "1": 1}:
            values["2"] = UNCERTAIN
            wanted += " (2 = uncertain)"
        labels = np.zeros((len(self.rows), len(schema.attributes)), np.int8)
        bad: list[tuple[int, str, str]] = []
        for number, attribute in enumerate(schema.attributes):
            column = self.position(column_of(attribute), 'Another: column = "NAME" under the attribute in schema.toml.')
            words = [row[column] for row in self.rows]
            # Few columns have more than three different cells, so that each is looked up once.
            known = {word: values.get(_plain(word), -1) for word in set(words)}
            labels[:, number] = [known[word] for word in words]
            for row in np.flatnonzero(labels[:, number] < 0):
                bad.append((self.lines[row], self.header[column], words[row].strip()))
        if bad:
            line, name, cell = min(bad)
            more = f" ({len(bad) - 1:,} more like it.)" if len(bad) > 1 else ""
            word = cell if cell and " " not in cell else "yes"
            raise InputError(
                f'{self.path} line {line}, column "{name}": "{cell}" is not {wanted}.{more}',
                f"Name the words for yes and no: focus prepare csv {self.path} --out FOLDER --true {word} --false no. A "
                "column that is not an attribute must be deleted, or left out of the schema.",
            )
        return labels


def _plain(cell: str) -> str:
    """A cell without case, outer spaces, and the ".0" that programs add to whole numbers beside empty cells."""
    return cell.strip().casefold().removesuffix(".0")


def read_table(path: Path) -> Table:
    """Read a CSV file (comma-separated UTF-8 with or without byte order mark, any line ends); blank lines are skipped.

    Raises:
        InputError: missing, not UTF-8, no header, a repeated column, no rows, or a row longer or shorter than the header.
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
        hint = near_file(Path(path)) or "A dataset is a folder with schema.toml and labels.csv."
        if Path(path).is_dir():
            hint = "Name the CSV file in it."
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", hint) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}.", "It must be comma-separated text.") from error
    if not rows:
        raise InputError(f"{path} is empty.", "Its first line must be: image,split,person,ATTRIBUTE,...")
    header = [name.strip() for name in rows[0]]
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise InputError(f"{path} line {line}: {len(row)} cells, but the header has {len(header)}.")
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise InputError(f'{path}: {header.count(repeated[0])} columns are named "{repeated[0]}".')
    if len(rows) == 1:
        raise InputError(f"{path} has a header but no images.")
    return Table(path, header, rows[1:], lines[1:])


def read_labels(path: Path, schema: AttributeSchema) -> Labels:
    """Read labels.csv; columns that the schema does not name are ignored.

    Raises:
        InputError: see `read_table`; a column is missing; a cell is not 0, 1 or 2; an image repeats or lies outside the
            image root; an unknown split.
    """
    table = read_table(path)
    images, splits, persons = (table.column(name) for name in FIXED_COLUMNS)
    labels = table.labels(schema)
    check_splits(splits, table.places)
    check_image_names(images, table.places)
    return tuple(images), np.array(splits, np.str_), np.array(persons, np.str_), labels


def format_labels(schema: AttributeSchema, content: Labels) -> str:
    """`content` as the text of a labels.csv; `read_labels` reads back the same."""
    images, splits, persons, labels = content
    rows = zip(images, splits.tolist(), persons.tolist(), labels.tolist(), strict=True)
    header = [*FIXED_COLUMNS, *map(column_of, schema.attributes)]
    return format_table([header, *([image, split, person, *row] for image, split, person, row in rows)])


def format_table(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def check_splits(splits: Sequence[str], places: Sequence[str]) -> None:
    """Refuse names other than `SPLITS`; `places` tell where each one is.

    Raises:
        InputError: names the first such split and its place.
    """
    for split, place in zip(splits, places, strict=True):
        if split not in SPLITS:
            raise InputError(f'{place}: split "{split}" is none of {", ".join(SPLITS)}.', did_you_mean(split, SPLITS))


def check_image_names(images: Sequence[str], places: Sequence[str]) -> None:
    """Refuse names that are empty, repeat, or lead out of the image root; `places` tell where each one is.

    Raises:
        InputError: names the first such image and its place.
    """
    seen: dict[str, str] = {}
    for image, place in zip(images, places, strict=True):
        if not image or _CONTROL.search(image):
            raise InputError(f"{place}: {image!r} is not a file name.")
        # Read as a Windows path, both kinds of separator and drive letters count on every machine.
        path = PureWindowsPath(image)
        if path.anchor or ".." in path.parts:
            raise InputError(
                f'{place}: "{image}" leads out of the folder of images.',
                "Paths are relative to image_root in schema.toml; set that to the folder that holds all images.",
            )
        if image in seen:
            raise InputError(f'{place}: image "{image}" is listed twice (first: {seen[image]}).')
        seen[image] = place
