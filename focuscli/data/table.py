"""Tables of labels as text: encoding, separator, header, rows, and the columns that are no attributes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from focuscli.data.contents import BOMS, check_kind
from focuscli.data.inputs import looks_like_image, near_file
from focuscli.data.schema import MAX_ATTRIBUTES
from focuscli.errors import InputError, UsageError, did_you_mean, plural
from focuscli.storage.paths import argument

NEWLINE = b"\n"
_ENCODINGS = ("utf-8", "utf-16", "gbk", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252", "latin-1", "cp1251")
# What a table in these mostly consists of, beside ASCII; Western letters rarely look like it.
_EAST_ASIAN = {
    "shift_jis": rb"([\0-\x7f]|[\x81-\x83\x88-\x97][\x40-\xfc])*",
    "euc_kr": rb"([\0-\x7f]|[\xb0-\xc8][\xa1-\xfe])*",
    "big5": rb"([\0-\x7f]|[\xa1-\xc6][\x40-\x7e\xa1-\xfe])*",
}
_BINARY = "Export the table again as CSV UTF-8, or name its encoding if it is UTF-16: --encoding utf-16-le"
MAX_ROWS = 1_000_000
MOST_LETTERS = 100_000
"""Of the header, for finding the separator; the csv module reads no longer cells."""
# What a column may be called, without case, spaces and punctuation.
_ROLES = {
    "image": "image images imagename imagefile imagepath img imgname imgpath file filename filepath path 图片 图像 文件名",
    "split": "split splits datasplit datasetsplit subset partition phase istrain istest 划分",
    "person": "person persons personid pid identity identityid id trackid tracklet trackletid pedestrianid subjectid",
    "camera": "camera cameras cameraid cam camid",
}
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words.split()}


@dataclass(frozen=True, eq=False)
class Table:
    """A table: its column names, and its rows with the number of the line on which each one ends.

    `roles` says which columns are image, split, person and camera; `notes` what was noticed.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    roles: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def places(self) -> list[str]:
        """Where each row is, for errors."""
        return [f"{self.path} line {line}" for line in self.lines]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.header)}

    def position(self, name: str, hint: str = "") -> int:
        """Where a column is in each row; `name` may be a role.

        Raises:
            InputError: there is no such column; `hint` is what else to do about it.
        """
        position = self._positions.get(self.roles.get(name, name))
        if position is None:
            hint = f"{did_you_mean(name, self.header)} {hint}".rstrip()
            if name == "image":
                hint = f'Name the column of the image files "image". It has: {", ".join(self.header[:12])}.'
            if len(self.header) == 1:
                hint = "It has one column: separate cells by commas, semicolons or tabs."
            raise InputError(f'{self.path} has no column "{name}".', hint)
        return position

    def column(self, name: str) -> list[str]:
        """A column's cells without surrounding spaces; `name` may be a role."""
        position = self.position(name)
        return [row[position].strip() for row in self.rows]


def read_table(path: Path, *, encoding: str | None = None, command: str | None = None) -> Table:
    """Read a table of cells separated by commas, semicolons or tabs (also after Excel's "sep=" line), with any line ends.

    Empty lines are skipped, and so are the empty rows and nameless empty columns that Excel leaves.

    Args:
        encoding: by default UTF-8, or what the byte order mark says (UTF-8 or UTF-16).
        command: for hints: the command that reads the table, to which options can be added; None where there is none.

    Raises:
        InputError: missing, of another kind or encoding, no header, a repeated column, no rows, a row longer or shorter than
            the header, or too many columns. UsageError: no such encoding.
    """
    text, notes = _decode(path, _content(path, command), encoding, command)
    first = re.match(r'\s*"?sep=(.)"?[^\S\r\n]*(\r\n|\r|\n)', text)
    if first:
        text = "\n" + text[first.end() :]  # so that lines are counted as they are
    separator = first[1] if first else _separator(text)
    if separator not in ",;\t":
        raise InputError(f"{path}: cells are separated by {separator!r}.", "Use commas, semicolons or tabs.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    empty = read = 0  # rows, lines
    try:
        for row in reader:
            read = reader.line_num
            if not any(map(str.strip, row)):
                empty += len(row) > 1
            elif len(rows) == MAX_ROWS:
                raise InputError(f"{path} has over {MAX_ROWS:,} rows; so many cannot be read.", "Divide it.")
            elif header:
                rows.append(row)
                lines.append(reader.line_num)
            else:
                header = [name.strip() for name in row]
                _check_header(path, header, reader.line_num)
    except csv.Error as error:
        place = f"{path} line {reader.line_num}"
        if "end of data" in str(error):
            raise InputError(
                f'{path} line {read + 1}: a quotation mark (") is not closed.', "Close or delete it."
            ) from error
        raise InputError(f"{place}: {error}.", "Cells are separated by commas, semicolons or tabs.") from error
    if not header:
        raise InputError(f"{path} is empty.", "Its first line must be: image,split,person,ATTRIBUTE,...")
    if empty:
        notes.append(f"ignored: {plural(empty, 'empty row')}")
    if not rows:
        raise InputError(f"{path} has a header but no images.")
    header, rows = _named_columns(path, header, rows, lines, notes)
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise InputError(f'{path}: {header.count(repeated[0])} columns are named "{repeated[0]}".', "Rename them.")
    return Table(path, header, rows, lines, notes=notes)


def format_table(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _content(path: Path, command: str | None) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        wanted = "Name a table: focus prepare csv FILE --images FOLDER"
        hint = near_file(Path(path)) or (
            wanted if command else "A dataset is a folder with schema.toml and labels.csv."
        )
        if Path(path).is_dir():
            hint = "Name the CSV file in it."
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", hint) from error
    check_kind(path, "table")
    return content


def _decode(path: Path, content: bytes, encoding: str | None, command: str | None) -> tuple[str, list[str]]:
    """A file's text, and notes on how it was read."""
    marked = next((name for mark, name in BOMS if content.startswith(mark)), None)
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
            "".encode(encoding)  # some codecs are not of text
        except LookupError as error:
            raise UsageError(f'Unknown encoding "{encoding}".', did_you_mean(encoding or "", _ENCODINGS)) from error
    chosen = marked or encoding or "utf-8"
    if chosen.startswith(("utf-16", "utf-32")) and b"\0" not in content:
        raise InputError(f"{path} is not {chosen.upper()}.", "Omit --encoding.")
    if chosen == "utf-8" and (zeros := re.match(rb"([^\0]\0){2}|(\0[^\0]){2}", content)):
        hint = _encoding_hint(path, "utf-16-le" if zeros[1] else "utf-16-be", command)
        raise InputError(f"{path} is UTF-16 without a byte order mark.", hint)
    try:
        text = content.decode(chosen)
    except UnicodeError as error:
        position = error.start if isinstance(error, UnicodeDecodeError) else 0
        if b"\0" in content and not marked:
            raise InputError(f"{path} is no text in {chosen.upper()}.", _BINARY) from error
        raise InputError(
            f"{path} line {content[:position].count(NEWLINE) + 1} is not {chosen.removesuffix('-sig').upper()} "
            f"(byte 0x{content[position]:02x} at position {position:,}).",
            "It is damaged: export it again as CSV UTF-8." if marked else _likely(path, content, position, command),
        ) from error
    if "\0" in text:
        raise InputError(f"{path} is no text, or damaged: it has NUL characters.", _BINARY)
    notes = [f"read as {chosen}"] if chosen not in ("utf-8", "utf-8-sig") or (marked and encoding) else []
    if notes and marked is None and not content.isascii() and _reads(content, "utf-8"):
        notes[-1] += ", although its bytes are also valid UTF-8"
    return text.replace("\ufeff", "") if chosen == "utf-16" else text, notes  # files that were joined repeat the mark


def _likely(path: Path, content: bytes, position: int, command: str | None) -> str:
    """The hint for a file in another encoding: how its line at a position reads in the likely ones."""
    start, end = content.rfind(NEWLINE, 0, position) + 1, content.find(NEWLINE, position)
    line = content[start : end if end >= 0 else None]
    hints = []
    east_asian = [(name,) for name, usual in _EAST_ASIAN.items() if re.fullmatch(usual, content)]
    for names in (("gbk", "gb18030"), *east_asian, ("cp1252", "latin-1")):
        if name := next((name for name in names if _reads(content, name)), None):
            hints.append(
                f'If it is "{" ".join(line.decode(name).split())[:60]}": {_encoding_hint(path, name, command)}'
            )
    return "   ".join([*hints, f"Else save it as UTF-8, or name its encoding: {', '.join(_ENCODINGS)}, ..."])


def _encoding_hint(path: Path, name: str, command: str | None) -> str:
    return f"{command} --encoding {name}" if command else f"iconv -f {name} -t utf-8 {argument(path)} > new.csv"


def _reads(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _separator(text: str) -> str:
    """The separator with which the first line that is not empty names an image column; else the one with most cells."""
    line = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    cells = {mark: next(csv.reader([line[:MOST_LETTERS]], delimiter=mark), []) for mark in ",;\t"}
    named = [mark for mark, row in cells.items() if any(_role(name) == "image" for name in row)]
    return max(named or cells, key=lambda mark: len(cells[mark]))


def _role(name: str) -> str | None:
    """Image, split, person or camera, by what a column is called; None for all others."""
    return _ROLE_OF.get(re.sub(r"[\W_]", "", name).casefold())


def _check_header(path: Path, header: list[str], line: int) -> None:
    if len(header) > MAX_ATTRIBUTES + len(_ROLES):
        raise InputError(f"{path} has {len(header):,} columns; at most {MAX_ATTRIBUTES:,} attributes can be read.")
    if any(_role(name) == "image" for name in header):
        return
    if any(map(looks_like_image, header)) or (len(header) > 1 and {*header[1:]} <= {"0", "1", "2", "-1"}):
        names = ",".join(["image", *(f"ATTRIBUTE{number}" for number in range(1, min(len(header), 4)))])
        raise InputError(
            f"{path} has no header: line {line} is an image already ({header[0]}).",
            f"Put a line above it that names its {len(header)} columns, such as: {names}",
        )


def _named_columns(
    path: Path, header: list[str], rows: list[list[str]], lines: list[int], notes: list[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows without the columns that have no name: empty ones that Excel leaves, and an index."""
    kept = [number for number, name in enumerate(header) if name]
    for row, line in zip(rows, lines, strict=True):
        if len(row) <= kept[-1] or any(map(str.strip, row[len(header) :])):
            raise InputError(f"{path} line {line}: {len(row)} cells, but the header has {len(header)}.")
    unnamed = sorted({*range(len(header))} - {*kept})
    filled = [number for number in unnamed if any(row[number].strip() for row in rows if number < len(row))]
    if len(filled) > 1:
        places = ", ".join(str(number + 1) for number in filled)
        raise InputError(f"{path}: columns {places} have no name.", "Name them.")
    if filled:
        notes.append(f"ignored: column {filled[0] + 1}, which has no name")
    if empty := len(unnamed) - len(filled) + max(0, *(len(row) - len(header) for row in rows)):
        notes.append(f"ignored: {plural(empty, 'empty column')} without a name")
    if unnamed or empty:
        header, rows = [header[number] for number in kept], [[row[number] for number in kept] for row in rows]
    return header, rows


def with_roles(table: Table, declared: Collection[str] = ()) -> Table:
    """The table with its image, split, person and camera columns recognised, however they are written.

    Args:
        declared: columns that are attributes, whatever they are called.

    Raises:
        InputError: two columns look like the same one.
    """
    roles: dict[str, str] = {}
    notes = list(table.notes)
    for role in _ROLES:
        found = [name for name in table.header if _role(name) == role and name not in declared]
        if len(found) > 1:
            raise InputError(
                f'{table.path}: columns "{found[0]}" and "{found[1]}" both look like the {role}.',
                "Delete one, or rename it if it is an attribute.",
            )
        if found:
            roles[role] = found[0]
            if found[0] != role and role != "camera":  # the camera has a note of its own where it is left out
                notes.append(f'column "{found[0]}" is taken as the {role}')
    return replace(table, roles=roles, notes=notes)
