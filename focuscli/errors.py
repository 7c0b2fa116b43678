"""Errors that a user can act on.

Each has a `problem` (what is wrong and where), a `hint` (what to do about it, if possible a command to paste) and the exit
code of the process. Library code raises them; only `focuscli.cli` prints them and exits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class FocusError(Exception):
    """Base of all errors with a message for the user; exit code 1 unless a subclass says otherwise.

    `data` is the result that there is all the same: with --json the error is one more key of it.
    """

    exit_code = 1

    def __init__(self, problem: str, hint: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.data = data or {}

    def __str__(self) -> str:
        return self.problem if self.hint is None else f"{self.problem}\n{self.hint}"


class UsageError(FocusError):
    """An invalid option, configuration key or value (exit code 2)."""

    exit_code = 2


class InputError(FocusError):
    """An image, dataset, schema, checkpoint or other input that is missing or invalid (exit code 3)."""

    exit_code = 3


class RequirementError(FocusError):
    """Something that this machine or installation lacks: weights, a package, a device, memory, disk (exit code 4)."""

    exit_code = 4


class CheckFailed(FocusError):
    """A command that completed, but whose check failed (exit code 5)."""

    exit_code = 5


class Interrupted(FocusError):
    """The user interrupted a long command; what could be saved has been saved (exit code 130)."""

    exit_code = 130


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to `name`, ignoring case; None if none is close."""
    lowered = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """The hint for an unknown name: "Did you mean X? Known: a, b, c."

    The question is omitted if no name is close, names beyond the first `limit` become "...", and without known names the
    hint is empty.
    """
    names = list(known)
    near = closest(name, names)
    listed = ", ".join(names[:limit]) + (", ..." if len(names) > limit else ".")
    hints = [f"Did you mean {near}?"] if near else []
    hints += [f"Known: {listed}"] if names else []
    return " ".join(hints)


def listed(names: Sequence[str], most: int = 5) -> str:
    """ "a, b, c", or "a, b and 3 more" for more than `most` names."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def plural(count: int, noun: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def one_line(error: BaseException) -> str:
    """The type and message of an error of another library, shortened to one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
