"""Errors that a user can act on.

Each carries what is wrong and where (`problem`), what to do about it (`hint`, a command where there is one) and the
process exit code. Library code raises them; only `focuscli.cli` prints them and exits.
"""

from __future__ import annotations


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
