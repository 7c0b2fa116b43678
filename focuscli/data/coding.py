"""What the cells of a table of labels mean: 0, 1 or unknown, in the table's own words."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import UNCERTAIN
from focuscli.data.table import Table
from focuscli.errors import InputError

MOST_CLASSES = 50
MOST_UNKNOWN = 0.1
"""Where nothing says what 2 means, it is unknown in at most this share of a column's cells, beside both 0 and 1."""
EMPTY = '""'
_YES = {"1", "yes", "true", "y", "t", "present", "positive", "+", "x", "是", "有"}
_NO = {"0", "no", "false", "n", "f", "absent", "negative", "-", "否", "无"}
_UNKNOWN = {"", "nan", "na", "n/a", "null", "none", "?", "unknown", "unsure", "uncertain", "not sure", "未知"}


@dataclass(frozen=True)
class Coding:
    """The words that mean present, absent and unknown; without the last, "2" beside "1" and "0" where it is rare."""

    true: tuple[str, ...] = ("1",)
    false: tuple[str, ...] = ("0",)
    unknown: tuple[str, ...] | None = None

    @property
    def guessed(self) -> bool:
        """Whether 2 means unknown without anybody having said so."""
        return self.unknown is None and (self.true, self.false) == (("1",), ("0",))

    def options(self) -> str:
        """The options of `focus prepare csv` that name this coding; empty where it is the default."""
        return _options(self.true, self.false, self.unknown or (), ())

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
    """A cell without case, outer spaces, and the ".0" that programs add to whole numbers beside empty cells."""
    return cell.strip().casefold().removesuffix(".0")


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
        wanted = " or ".join(word or EMPTY for word in (*coding.false, *coding.true))
        if unknown := [word or EMPTY for word, label in values.items() if label == UNCERTAIN]:
            wanted += f" ({', '.join(unknown)} = unknown)"
        more = f" ({len(rows) - 1:,} more like it.)" if len(rows) > 1 else ""
        raise InputError(
            f'{table.path} line {table.lines[rows[0]]}, column "{name}": "{cell}" is not {wanted}.{more}',
            _advice(words, coding, values, command),
        )
    if coding.guessed:
        _check_guess(table, words, command)
    return labels


def read_classes(table: Table, name: str, coding: Coding, command: str) -> tuple[list[str], NDArray[np.int8]]:
    """The classes of a column, in their order, and which of them each image is: [N, classes] of 0, 1 or 2 (unknown).

    Raises:
        InputError: there is no such column, a cell is empty though that does not mean unknown, or there are too many classes.
    """
    cells = [plain(cell) for cell in table.column(name)]
    left = {*map(plain, coding.unknown or ())}
    if "" in cells and "" not in left:
        line = table.lines[cells.index("")]
        options = _options(coding.true, coding.false, [*(coding.unknown or ()), ""], [])
        raise InputError(f'{table.path} line {line}, column "{name}" is empty.', f"If unknown: {command} {options}")
    classes = sorted(
        {*cells} - left, key=lambda word: (not _is_number(word), float(word) if _is_number(word) else 0, word)
    )
    if not 2 <= len(classes) <= MOST_CLASSES:
        problem = f'{table.path}, column "{name}" has {len(classes):,} classes; 2 to {MOST_CLASSES} can be read.'
        raise InputError(problem, "Remove it from --classes.")
    labels = np.array([[UNCERTAIN if cell in left else cell == other for other in classes] for cell in cells], np.int8)
    return classes, labels


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", word, re.ASCII) is not None


def _check_guess(table: Table, words: Mapping[str, Counter[str]], command: str) -> None:
    """Refuse the value 2 where it may as well be a class, or the yes to a no that is 1."""
    most = MOST_UNKNOWN * len(table.rows)
    doubtful = [name for name, counts in words.items() if counts["2"] and not (counts["0"] and counts["1"])]
    if doubtful:
        held = {word for name in doubtful for word in words[name]}
        low = "1" if "1" in held else "0"
        hint = f"If {low} means no and 2 means yes: {command} --true 2 --false {low}"
        if any(counts["1"] and counts["0"] for counts in words.values()):  # 1 means yes elsewhere
            hint = f"If they are classes: {command} --classes {shlex.quote(','.join(doubtful[:10]))}"
        raise InputError(
            f"{table.path}: {_listed(doubtful)} with {' and '.join(sorted(held))}: is 2 unknown beside only one of 0 and 1?",
            f"{hint}   If 2 means unknown: {command} --unknown 2",
        )
    doubtful = [name for name, counts in words.items() if counts["2"] > most]
    if doubtful:
        raise InputError(
            f"{table.path}: {_listed(doubtful)} with 0, 1 and 2 can be three classes, or 0 and 1 with 2 for unknown.",
            f"Three classes: {command} --classes {shlex.quote(','.join(doubtful[:10]))}   Unknown: {command} --unknown 2",
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:5])
    return f"column{'s' * (len(names) > 1)} {shown}" + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _advice(words: Mapping[str, Counter[str]], coding: Coding, values: Mapping[str, int], command: str) -> str:
    """What to add to the command so that it reads the columns, as far as their words show what they mean."""
    coded = {word for word, label in values.items() if label != UNCERTAIN or not coding.guessed}
    used: set[str] = set()  # words that the coding reads already
    true: dict[str, None] = {}
    false: dict[str, None] = {}
    unknown = dict.fromkeys(coding.unknown or ())
    odd: dict[str, list[str]] = {}  # one word more than yes and no -> columns
    classes: list[str] = []
    other: list[str] = []
    for name, counts in words.items():
        rest = {*counts} - _UNKNOWN - {*(coding.unknown or ())}
        strange = rest - coded
        mark = next((mark for mark in ("2", "-1") if strange and mark in rest <= {"1", mark}), None)
        beyond = strange - _YES - _NO
        if mark:
            true |= dict.fromkeys(["2" if mark == "2" else "1"])
            false |= dict.fromkeys(["1" if mark == "2" else "-1"])
        elif len(beyond) > 1 or (beyond and len(rest) not in (2, 3)):
            (classes if 1 < len(rest) <= min(MOST_CLASSES, counts.total() // 2) else other).append(name)
        else:
            used |= rest & coded
            true |= dict.fromkeys(sorted(strange & _YES))
            false |= dict.fromkeys(sorted(strange & _NO))
            odd |= {word: [*odd.get(word, []), name] for word in beyond}
        unknown |= dict.fromkeys(sorted({*counts} & _UNKNOWN - coded))
        if rest == {"x"}:
            false[""] = None
    if "-1" in odd:
        false.pop("-1", None)
    if not true or not false or not used <= {*true, *false}:
        true, false = dict.fromkeys([*coding.true, *true]), dict.fromkeys([*coding.false, *false])
    if both := {*true} & {*false}:
        return f"Use one pair of words in all columns: {', '.join(both)} means yes in one and no in another."
    left = [word for word in unknown if word not in false]
    hints = []
    if left and not any({*counts} & {*false} for counts in words.values()):
        hints.append(f"If an empty cell means absent: {command} {_options([*true], left, [], classes)}")
    for word, names in odd.items():
        if word == "-1":
            swapped = _options([*true], ["-1"], [*left, "0"], classes)
            hints.append(f"If -1 means absent and 0 unknown: {command} {swapped}")
        else:
            hints.append(f"If they are classes: {command} {_options([*true], [*false], left, [*classes, *names])}")
    if odd or left or classes or coded != {*true, *false}:
        options = _options([*true], [*false], [*left, *odd], classes)
        meaning = f"If {', '.join(word or EMPTY for word in [*left, *odd])} means unknown: " if hints else ""
        hints.append(f"{meaning}{command} {options}".rstrip())
    if other:
        hints.append(f"Delete what is no attribute, or leave it out of a --schema: {_listed(other)}.")
    return "   ".join(hints)


def _options(true: Sequence[str], false: Sequence[str], unknown: Sequence[str], classes: Sequence[str]) -> str:
    """A coding as options of `focus prepare csv`."""
    named = {"--true": true, "--false": false, "--unknown": unknown, "--classes": classes}
    if ([*true], [*false]) == (["1"], ["0"]):
        named |= {"--true": (), "--false": ()}
    shown = ((option, ",".join(words)) for option, words in named.items() if words)
    return " ".join(f"{option} {shlex.quote(words) if words else EMPTY}" for option, words in shown)
