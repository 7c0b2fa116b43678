"""What the cells of a table of labels mean: 0, 1 or unknown, in the table's own words."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from focuscli.data.inputs import looks_like_image
from focuscli.data.schema import UNCERTAIN
from focuscli.data.table import Table
from focuscli.errors import InputError, listed

MOST_CLASSES = 50
MOST_UNKNOWN = 0.1
"""Where nothing says what 2 means, it is unknown in at most this share of a column's cells, beside both 0 and 1."""
_LISTS = "Write a 0/1 column for each word of the lists."
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "query", "gallery", "trainval"}
EMPTY = '""'
_YES = {"1", "yes", "true", "y", "t", "present", "positive", "+", "x", "是", "有"}
_NO = {"0", "no", "false", "n", "f", "absent", "negative", "-", "否", "无"}
_UNKNOWN = {"", "?", "nan", "na", "n/a", "<na>", "#n/a", "#na", "null", "none", "未知"}
_UNKNOWN |= {"unknown", "unsure", "uncertain", "not sure"}


@dataclass(frozen=True)
class Coding:
    """The words that mean present, absent and unknown; without the last, "2" beside "1" and "0" where it is rare."""

    true: tuple[str, ...] = ("1",)
    false: tuple[str, ...] = ("0",)
    unknown: tuple[str, ...] | None = None

    @property
    def guessed(self) -> bool:
        """Whether 2 means unknown by default, not because an option says so."""
        return self.unknown is None and (self.true, self.false) == (("1",), ("0",))

    def options(self, classes: Sequence[str] = ()) -> str:
        """The options of `focus prepare csv` for this coding and columns of classes; empty where they are the defaults."""
        named = {"--true": self.true, "--false": self.false, "--unknown": self.unknown or (), "--classes": classes}
        if (self.true, self.false) == (("1",), ("0",)):
            del named["--true"], named["--false"]
        shown = ((option, ",".join(words)) for option, words in named.items() if words)
        return " ".join(f"{option} {shlex.quote(words) if words else EMPTY}" for option, words in shown)

    def values(self) -> dict[str, int]:
        """Word -> label.

        Raises:
            InputError: a word means two things.
        """
        found: dict[str, int] = {}
        unknown = ("2",) if self.guessed else self.unknown or ()
        for words, label in ((self.false, 0), (self.true, 1), (unknown, UNCERTAIN)):
            for word in map(plain, words):
                if found.setdefault(word, label) != label:
                    names = ("absent", "present", "unknown")
                    problem = f'"{word}" cannot mean both {names[found[word]]} and {names[label]}.'
                    raise InputError(problem, "Give different words, such as: --true yes --false no --unknown unsure")
        return found


STORED = Coding(unknown=("2",))
"""The coding of labels.csv."""


def plain(cell: str) -> str:
    """A cell without case, outer spaces, and the ".0" that programs add to whole numbers (in some countries ",0")."""
    return re.sub(r"(?<=[0-9])[.,]0+$", "", cell.strip().casefold())


def read_cells(
    table: Table, columns: Sequence[str], coding: Coding, command: str, missing: str = ""
) -> NDArray[np.int8]:
    """The labels [N, A] of some columns: 0, 1 or 2 (unknown).

    Args:
        command: for hints: the command that reads the table, to which options can be added.
        missing: the hint for a column that does not exist.

    Raises:
        InputError: there is no such column, a cell is none of the coding's words, or the coding makes no sense for a column.
    """
    values = coding.values()
    labels = np.zeros((len(table.rows), len(columns)), np.int8)
    words: dict[str, Counter[str]] = {}
    for number, name in enumerate(columns):
        position = table.position(name, missing)
        cells = [row[position] for row in table.rows]
        # Few columns have more than three different cells, so that each is looked up once.
        counts = Counter(cells)
        known = {cell: values.get(plain(cell), -1) for cell in counts}
        labels[:, number] = [known[cell] for cell in cells]
        words[name] = Counter()
        for cell, count in counts.items():
            words[name][plain(cell)] += count
    rows, bad = np.nonzero(labels < 0)
    if len(rows):
        name = columns[bad[0]]
        cell = table.rows[rows[0]][table.position(name)].strip()
        image = table.column("image")[rows[0]]
        if rows[0] == rows[-1] and not looks_like_image(image) and any(map(looks_like_image, table.column("image"))):
            problem = f'{table.path} line {table.lines[rows[0]]} is of no image ("{image}"): a row of totals?'
            raise InputError(problem, "Delete that line.")
        wanted = " or ".join(word or EMPTY for word in (*coding.false, *coding.true))
        if unknown := [word or EMPTY for word, label in values.items() if label == UNCERTAIN]:
            wanted += f" ({', '.join(unknown)} = unknown)"
        more = f" ({len(rows) - 1:,} more like it.)" if len(rows) > 1 else ""
        raise InputError(
            f'{table.path} line {table.lines[rows[0]]}, column "{name}": "{cell}" is not {wanted}.{more}',
            _advice(words, coding, command),
        )
    if coding.guessed:
        _check_guess(table, words, coding, command)
    return labels


def split_classes(table: Table, columns: Sequence[str], coding: Coding, command: str) -> tuple[Table, dict[str, str]]:
    """The table with some columns replaced by one for each of their classes, and the new columns with those they are of.

    Raises:
        InputError: there is no such column, a cell is empty though that does not mean unknown, or there are too many classes.
    """
    unknown = {*map(plain, coding.unknown or ())}
    made: dict[str, str] = {}
    for column in columns:
        cells = [plain(cell) for cell in table.column(column)]
        if "" in cells and "" not in unknown:
            problem = f'{table.path} line {table.lines[cells.index("")]}, column "{column}" is empty.'
            options = replace(coding, unknown=(*(coding.unknown or ()), "")).options()
            raise InputError(problem, f"If unknown: {command} {options}")
        numbers = {cell for cell in cells if re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", cell, re.ASCII)}
        classes = sorted({*cells} - unknown, key=lambda cell: (float(cell) if cell in numbers else math.inf, cell))
        if _holds_lists(classes):
            raise InputError(f'{table.path}, column "{column}" holds lists, not classes.', _LISTS)
        if not 2 <= len(classes) <= MOST_CLASSES:
            problem = f'{table.path}, column "{column}" has {len(classes):,} classes; 2 to {MOST_CLASSES} can be read.'
            raise InputError(problem, "Remove it from --classes.")
        place = table.position(column)
        words = {True: coding.true[0], False: coding.false[0]}
        split = [[cell if cell in unknown else words[cell == value] for value in classes] for cell in cells]
        names = [f"{column} {value}" for value in classes]
        header, *rows = (
            [*row[:place], *new, *row[place + 1 :]]
            for row, new in zip([table.header, *table.rows], [names, *split], strict=True)
        )
        table = replace(table, header=header, rows=rows)
        made |= dict.fromkeys(names, column)
    return table, made


def _holds_lists(words: Collection[str]) -> bool:
    """Whether some words are several of the others, as in "hat", "bag" and "hat|bag"."""
    parts = [{*re.split(r"\s*[|;,/+]\s*", word)} for word in words if not re.fullmatch(r"[-+\d.,%]*", word)]
    counts = Counter(part for some in parts for part in some)
    return any(len(some) > 1 and any(counts[part] > 1 for part in some) for some in parts)


def _check_guess(table: Table, words: Mapping[str, Counter[str]], coding: Coding, command: str) -> None:
    """Refuse 2 as unknown where it may be a class instead, or mean yes beside a 1 that means no."""
    problem = ""
    often = [name for name, counts in words.items() if counts["2"] > MOST_UNKNOWN * len(table.rows)]
    if often:
        problem = (
            f"in {_listed(often)} more than {MOST_UNKNOWN:.0%} of the cells are 2, too many to take it for unknown"
        )
    for never in "10":
        if columns := [name for name, counts in words.items() if counts["2"] and not counts[never]]:
            held = sorted({word for name in columns for word in words[name]})
            problem = f"in {_listed(columns)} there are {' and '.join(held)} but never {never}"
            often += columns
    if problem:
        doubtful = {name: counts for name, counts in words.items() if name in often or not counts["2"]}
        raise InputError(f"{table.path}: {problem}.", _advice(doubtful, coding, command))


def _listed(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} " + listed([f'"{name}"' for name in names])


def _advice(words: Mapping[str, Counter[str]], coding: Coding, command: str) -> str:
    """The options that would make the command read the columns, as far as their words tell."""
    yes, no, unknown = ({*map(plain, some or ())} for some in (coding.true, coding.false, coding.unknown))
    given = yes | no
    usual = _UNKNOWN - given
    yes, no = (yes | _YES - no) - unknown, (no | _NO - yes) - unknown
    used: set[str] = set()
    classes: list[str] = []
    other: list[str] = []
    for name, counts in words.items():
        found = {*counts} - unknown - usual
        strange = found - yes - no
        if found and found <= _SPLITS:
            return f'Name {_listed([name])} "split", or delete it if there is one already.'
        if _holds_lists(found):
            return f"{_LISTS[:-1]} in {_listed([name])}."
        opposites = len(found) == 2 and strange and not found & given  # such as m and f
        if not opposites and len(strange) < 2 and (strange < found or strange <= {"2", "-1"}):
            used |= {*counts} - unknown
        else:
            (classes if 1 < len(found) <= min(MOST_CLASSES, counts.total() // 2) else other).append(name)
    true, false = sorted(used & yes) or [*coding.true], sorted(used & no) or [*coding.false]
    left = sorted(used & usual)
    odd = sorted(used - yes - no - usual)
    hints: list[str] = []

    def add(
        meaning: str, true: Sequence[str], false: Sequence[str], more: Sequence[str], classes: Sequence[str] = classes
    ) -> None:
        options = Coding((*true,), (*false,), (*(coding.unknown or ()), *more)).options(classes)
        hints.append(f"{meaning}{command} {options}")

    if left and not used & no:
        add("If an empty cell means no: ", true, left, [])
    rest = used - usual
    pairs = [("2", "1"), ("2", "0"), ("1", "-1")] if rest & {"2", "-1"} and not rest <= given else []
    if pair := next((pair for pair in pairs if rest <= {*pair}), None):
        add(f"If {pair[1]} means no and {pair[0]} yes: ", pair[:1], pair[1:], left)
    elif odd == ["-1"]:
        add("If -1 means no and 0 unknown: ", true, odd, [*left, "0"])
    elif odd:
        more = [name for name, counts in words.items() if {*odd} & {*counts} and name not in (*classes, *other)]
        beside = {word for name in more for word in words[name]} - usual - unknown
        if len(odd) == 1 and len(beside) == 2:
            means_yes = bool(beside & no)
            add(
                f"If {odd[0]} means {'yes' if means_yes else 'no'}: ",
                [*true, *odd] if means_yes else true,
                false if means_yes else [*false, *odd],
                left,
            )
        add("If they are classes: ", true, false, left, [*classes, *more])
    if left or odd:
        named = ", ".join(word or EMPTY for word in [*left, *odd])
        add(f"If {named} means unknown: " if hints else "", true, false, [*left, *odd])
    elif not hints and (classes or {*true, *false} != given):
        add("", true, false, [])
    if other:
        hints.append(f"Delete what is no attribute, or leave it out of a --schema: {_listed(other)}.")
    return "   ".join(hints)
