from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.gallery.ranking import Best, Hits, merge, ordered, recall

values = st.lists(st.integers(-4, 4), max_size=40)


def hits(positions, numbers) -> Hits:
    positions = np.array(positions, dtype=np.int64)
    numbers = np.array(numbers, dtype=float)
    return ordered(positions, numbers, numbers[:, None], len(numbers))


def expected(numbers, k):
    """By value, equal ones by position."""
    return sorted(range(len(numbers)), key=lambda at: (-numbers[at], at))[:k]


@given(values, st.integers(1, 12), st.randoms(use_true_random=False))
def test_merging_any_parts_gives_the_best_of_all(numbers, k, random):
    owners = [random.randrange(3) for _ in numbers]
    parts = []
    for owner in range(3):
        mine = [at for at in range(len(numbers)) if owners[at] == owner]
        random.shuffle(mine)
        part = hits(mine, [numbers[at] for at in mine])
        parts.append(Hits(part.positions[:k], part.values[:k], part.scores[:k]))
    merged = merge(parts, k)
    assert merged.positions.tolist() == expected(numbers, k)
    assert merged.values.tolist() == [numbers[at] for at in merged.positions]
    assert merged.scores[:, 0].tolist() == merged.values.tolist()


def test_a_position_that_two_parts_name_counts_once():
    merged = merge([hits([3, 1], [5, 2]), hits([3, 2], [5, 4])], 3)
    assert merged.positions.tolist() == [3, 2, 1]


@given(values, st.integers(1, 12), st.floats(0, 3), st.randoms(use_true_random=False))
def test_best_keeps_whatever_can_be_among_the_best(numbers, k, tolerance, random):
    """Everything at least the k-th value minus the tolerance, whatever order it came in."""
    best = Best(k, tolerance)
    order = [*range(len(numbers))]
    random.shuffle(order)
    while order:
        part = [order.pop() for _ in range(min(len(order), random.randint(1, 5)))]
        best.add(np.array(part), np.array([float(numbers[at]) for at in part]))
    kept = best.positions.tolist()
    assert kept == sorted(kept)
    limit = sorted(numbers, reverse=True)[k - 1] - tolerance if len(numbers) >= k else -np.inf
    assert set(kept) == {at for at in range(len(numbers)) if numbers[at] >= limit}
    assert best.hits(k).positions.tolist() == expected(numbers, k)


def test_nothing_added_is_nothing_found():
    assert len(Best(3, 0.0).positions) == 0
    assert len(merge([hits([], []), hits([], [])], 3)) == 0


def test_recall_is_the_share_that_was_found():
    assert recall(hits([1, 2, 9], [3, 2, 1]), hits([1, 2, 3, 4], [4, 3, 2, 1])) == 0.5
    assert recall(hits([], []), hits([], [])) == 1.0
