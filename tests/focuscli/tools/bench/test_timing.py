"""The timing core on a clock of our own: who goes when, what counts, and the arithmetic of spreads and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.bench.timing import CPU, WALL, Candidate, Clock, clock_for, interleave, order, quartiles, ratios


class Ticking:
    """A clock that stands still but for what candidates add."""

    def __init__(self):
        self.time = 0.0
        self.waits = 0
        self.calls = []

    def clock(self):
        return Clock("fake", lambda: self.time, self.wait)

    def wait(self):
        self.waits += 1

    def candidate(self, name, *seconds):
        left = list(seconds)

        def run():
            self.calls.append(name)
            self.time += left.pop(0)

        return Candidate(name, run)


def test_each_round_is_timed_apart_and_warm_up_does_not_count():
    ticking = Ticking()
    fast, slow = ticking.candidate("fast", 100, 1, 2, 3), ticking.candidate("slow", 200, 4, 6, 8)
    seconds = interleave([fast, slow], rounds=3, warmup=1, clock=ticking.clock())
    assert seconds == {"fast": [1, 2, 3], "slow": [4, 6, 8]}


def test_the_clock_waits_for_the_device_before_each_reading():
    ticking = Ticking()
    interleave([ticking.candidate("one", 1, 1)], rounds=1, warmup=1, clock=ticking.clock())
    assert ticking.waits == 4


def test_candidates_take_turns_in_changing_order():
    ticking = Ticking()
    candidates = [ticking.candidate(name, *[1] * 4) for name in "abc"]
    interleave(candidates, rounds=4, warmup=0, clock=ticking.clock())
    rounds = ["".join(ticking.calls[start : start + 3]) for start in range(0, 12, 3)]
    assert rounds == ["abc", "cba", "bca", "acb"]


@given(count=st.integers(1, 9), number=st.integers(0, 60))
def test_every_round_has_everybody_once(count, number):
    assert sorted(order(count, number)) == list(range(count))


@given(count=st.integers(2, 6))
def test_in_a_whole_cycle_everybody_is_at_each_place_equally_often(count):
    rounds = [order(count, number) for number in range(2 * count)]
    for place in range(count):
        assert sorted(row[place] for row in rounds) == sorted([*range(count)] * 2)


def test_progress_counts_warm_up_too():
    ticking, seen = Ticking(), []
    interleave(
        [ticking.candidate("one", 1, 1, 1)],
        rounds=2,
        warmup=1,
        clock=ticking.clock(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30))
def test_quartiles_are_numpys(values):
    assert np.allclose(quartiles(values), np.percentile(values, [25, 50, 75]))


def test_ratios_are_of_the_same_round():
    assert ratios([2, 9, 4], [1, 3, 8]) == [2, 3, 0.5]
    with pytest.raises(ValueError, match="3 rounds"):
        ratios([1, 2, 3], [1, 2])


def test_ratios_do_not_see_what_slows_a_whole_round_down():
    calm, busy = [1.0, 1.0, 1.0], [1.0, 7.0, 3.0]
    assert quartiles(ratios([2 * value for value in busy], busy)) == quartiles(ratios([2.0] * 3, calm))


def test_which_clock():
    assert clock_for("cpu", 1) is CPU
    assert clock_for("cpu", 2) is WALL
    assert (CPU.name, WALL.name) == ("cpu", "wall")
