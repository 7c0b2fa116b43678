"""The processes that index or search together, as far as a gallery needs to know them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Team(Protocol):
    """Processes that share a job, seen from one of them; all call the same methods in the same order."""

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes what there is once."""

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of the items."""

    def broadcast(self, choose: Callable[[], T]) -> T:
        """What `choose` returns in the first process, for all."""

    def all_gather(self, value: T) -> list[T]:
        """Each process's value, in every process."""

    def barrier(self) -> None:
        """Go on when all processes are here."""


class Alone:
    """A team of one."""

    is_main = True

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        return items

    def broadcast(self, choose: Callable[[], T]) -> T:
        return choose()

    def all_gather(self, value: T) -> list[T]:
        return [value]

    def barrier(self) -> None:
        return None
