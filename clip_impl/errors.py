"""Errors of reading weight files."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weight file that cannot be used: what is wrong and where, and what to do."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem if hint is None else f"{problem}\n{hint}")
        self.problem = problem
        self.hint = hint
