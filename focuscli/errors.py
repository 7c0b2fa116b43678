"""Errors that a user can act on.

Each carries what is wrong and where (`problem`), what to do about it (`hint`, a command where there is one) and the
process exit code. Library code raises them; only `focuscli.cli` prints them and exits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FocusError(Exception):
    """Base of all errors with a message for the user; exit code 1 unless a subclass says otherwise."""

    exit_code = 1

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return self.problem if self.hint is None else f"{self.problem}\n{self.hint}"


class UsageError(FocusError):
    """A wrong option, configuration key or value (exit code 2)."""

    exit_code = 2


class InputError(FocusError):
    """An input that is not found or not valid: image, dataset, schema, checkpoint (exit code 3)."""

    exit_code = 3


class RequirementError(FocusError):
    """Something that the machine or installation lacks: weights, package, device, memory, disk (exit code 4)."""

    exit_code = 4


class CheckFailed(FocusError):
    """A command that ran to its end and found that a check does not hold (exit code 5)."""

    exit_code = 5


class Interrupted(FocusError):
    """The user stopped a long command; what could be saved has been saved (exit code 130)."""

    exit_code = 130


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is spelled most like `name`, whatever its case; None where nothing comes near."""
    lowered = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """The hint for an unknown name: "Did you mean X? Known: a, b, c."

    Without a near name only "Known: a, b, c.", of long lists the first `limit` names; "" if nothing is known.
    """
    names = list(known)
    near = closest(name, names)
    listed = ", ".join(names[:limit]) + (", ..." if len(names) > limit else ".")
    hints = [f"Did you mean {near}?"] if near else []
    hints += [f"Known: {listed}"] if names else []
    return " ".join(hints)
