"""The timing core: candidates take turns, round by round, so that what slows the machine down slows all of them down."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clock:
    """What seconds are counted.

    Attributes:
        name: `cpu`: of this process, so that others on the machine do not count; `wall`: as they pass.
        now: seconds since some moment.
        wait: called before `now` is read; on a GPU it waits until the GPU has done what it was given.
    """

    name: str
    now: Callable[[], float]
    wait: Callable[[], None] = lambda: None

    def read(self) -> float:
        self.wait()
        return self.now()


CPU = Clock("cpu", time.process_time)
WALL = Clock("wall", time.perf_counter)


@dataclass(frozen=True)
class Candidate:
    """Something to be timed: a name, and one call of the work."""

    name: str
    run: Callable[[], Any]


def clock_for(device: str, threads: int) -> Clock:
    """One thread on a CPU: its own CPU time, which another process cannot lengthen by taking the core. With more threads,
    which wait for each other, and on GPUs only the wall clock tells what a user waits for."""
    if device.startswith("cuda"):
        import torch

        return Clock("wall", time.perf_counter, lambda: torch.cuda.synchronize(device))
    if device == "mps":
        import torch

        return Clock("wall", time.perf_counter, torch.mps.synchronize)
    return CPU if threads == 1 else WALL


def order(count: int, number: int) -> list[int]:
    """Who goes when in a round: rotated from pair to pair of rounds, and reversed in every second one, so that nobody always
    comes first, or always after the same other."""
    turn = (number // 2) % max(count, 1)
    places = [*range(turn, count), *range(turn)]
    return places[::-1] if number % 2 else places


def interleave(
    candidates: Sequence[Candidate],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Clock = WALL,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after `warmup` rounds that do not count."""
    seconds: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    total, done = (warmup + rounds) * len(candidates), 0
    for number in range(-warmup, rounds):
        for index in order(len(candidates), number + warmup):
            candidate = candidates[index]
            started = clock.read()
            candidate.run()
            took = clock.read() - started
            if number >= 0:
                seconds[candidate.name].append(took)
            done += 1
            if progress is not None:
                progress(done, total)
    return seconds


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, interpolated as numpy does by default."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """What one took in terms of the other, round by round: what slows a whole round down cancels out.

    Raises:
        ValueError: they did not run in the same rounds.
    """
    if len(values) != len(others):
        raise ValueError(f"{len(values)} rounds cannot be compared with {len(others)}")
    return [value / other for value, other in zip(values, others, strict=True)]
