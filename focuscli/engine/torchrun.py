"""What torchrun tells every process that it starts. Standard library only, so that a command can ask before torch loads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from focuscli.errors import UsageError

REQUIRED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_TELLING = REQUIRED[:3]
"""Any of these means that processes belong together; clusters set MASTER_ADDR in every container."""
_HINT = (
    "torchrun sets all of them: torchrun --nproc-per-node 2 -m focuscli train ... "
    "For one process alone: unset RANK WORLD_SIZE LOCAL_RANK"
)


@dataclass(frozen=True)
class Worker:
    """One of some processes that work together; rank counts all of them, local_rank those on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0


ALONE = Worker()


def read_worker(environment: Mapping[str, str] | None = None) -> Worker:
    """The worker that the environment (None: this process's own) describes; `ALONE` without torchrun.

    Raises:
        UsageError: variables are missing, no numbers, or contradict each other.
    """
    given = os.environ if environment is None else environment
    if not any(given.get(name) for name in _TELLING):
        return ALONE
    missing = [name for name in REQUIRED if not given.get(name)]
    if missing:
        present = [f"{name}={given[name]}" for name in REQUIRED if given.get(name)]
        raise UsageError(
            f"Some of torchrun's variables are missing: {', '.join(missing)} (set: {', '.join(present)}).", _HINT
        )
    rank, size, local_rank, port = (
        _number(given, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
    )
    local_size = _number(given, "LOCAL_WORLD_SIZE") if given.get("LOCAL_WORLD_SIZE") else None
    contradictions = {
        f"WORLD_SIZE={size} counts no process": size < 1,
        f"RANK={rank} is not below WORLD_SIZE={size}": rank >= size >= 1,
        f"LOCAL_RANK={local_rank} is above RANK={rank}": local_rank > rank,
        f"LOCAL_RANK={local_rank} is not below LOCAL_WORLD_SIZE={local_size}": local_rank >= (local_size or size) >= 1
        and local_size is not None,
        f"LOCAL_WORLD_SIZE={local_size} is not between 1 and WORLD_SIZE={size}": local_size is not None
        and not 1 <= local_size <= size,
        f"MASTER_PORT={port} is no port (1 to 65535)": not 1 <= port <= 65535,
    }
    wrong = [words for words, holds in contradictions.items() if holds]
    if wrong:
        raise UsageError(f"torchrun's variables contradict each other: {'; '.join(wrong)}.", _HINT)
    return Worker(rank, size, local_rank, local_size or size)


def _number(given: Mapping[str, str], name: str) -> int:
    text = given[name].strip()
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"torchrun's variable {name} is no whole number: {given[name]!r}.", _HINT)
    return int(text)
