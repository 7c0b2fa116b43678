from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.gallery.query import Hits, Query, top_k

numbers = st.floats(-40, 40)
rows = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_sql(query: Query, scores) -> list[float]:
    """`Query.sql` of columns whose names need quoting."""
    names = ['a"b', "group", "c d"][: len(query.texts)]
    cells = ", ".join(f"({', '.join(map(repr, map(float, row)))})" for row in scores)
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    sql = f"SELECT {query.sql(names)} FROM (VALUES {cells}) AS crops({listed})"
    return [row[0] for row in duckdb.sql(sql).fetchall()]


@given(rows)
def test_the_value_is_the_log_odds_of_all_wanted_and_nothing_unwanted(scores):
    query = Query((0, 1), (2,), (1.0, -2.0, 0.5))
    values = query.values(np.array(scores)).tolist()
    for row, value in zip(scores, values, strict=True):
        all_of_it = sigmoid(row[0] - 1) * sigmoid(row[1] + 2) * (1 - sigmoid(row[2] - 0.5))
        assert sigmoid(value) == pytest.approx(all_of_it, rel=1e-9)
    assert by_sql(query, scores) == pytest.approx(values, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("query", "scores", "expected"),
    [
        (Query((0,), thresholds=(2.0,)), [[5.0], [1.0]], [3.0, -1.0]),
        (Query((), (0,), (2.0,)), [[5.0], [1.0]], [-3.0, 1.0]),
        (Query((0,)), [[5.0]], [5.0]),
        (Query((0,), (1,)), [[5.0, 2.0]], [3.0]),
    ],
)
def test_one_text_or_no_threshold(query, scores, expected):
    assert query.values(np.array(scores)).tolist() == by_sql(query, scores) == expected


def test_far_from_thresholds_values_stay_finite_and_in_order():
    query = Query((0, 1), thresholds=(0.0, 0.0))
    scores = [[1e5, 1e5], [200.0, 200.0], [0.0, 0.0], [-200.0, 200.0], [-1e5, -1e5]]
    values = query.values(np.array(scores))
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    assert by_sql(query, scores) == pytest.approx(values.tolist())


values = st.lists(st.tuples(st.integers(-4, 4), st.sampled_from([None, "a", "b", "c"])), max_size=40)


def hits(positions, crops) -> Hits:
    every = [crops[at] for at in positions]
    numbers = np.array([value for value, _ in every], dtype=float)
    places = np.array(positions, dtype=np.int64)
    return Hits(places // 7, places % 7, np.array([group for _, group in every], object), numbers, numbers[:, None])


@given(values, st.integers(1, 12), st.booleans(), st.randoms(use_true_random=False))
def test_the_best_of_any_parts_are_the_best_of_all(crops, k, per_group, random):
    """By value, equal ones by position; of each group the first alone, and a crop without one is a group of its own."""
    owners = [random.randrange(3) for _ in crops]
    parts = []
    for owner in range(3):
        mine = [at for at in range(len(crops)) if owners[at] == owner]
        random.shuffle(mine)
        parts.append(top_k([hits(mine, crops)], k, per_group=per_group))
    found = top_k(parts, k, per_group=per_group)
    expected, seen = [], set()
    for at in sorted(range(len(crops)), key=lambda at: (-crops[at][0], at)):
        group = crops[at][1]
        if not per_group or group is None or group not in seen:
            expected.append(at)
            seen.add(group)
    assert (found.parts * 7 + found.rows).tolist() == expected[:k]
    assert found.values.tolist() == found.scores[:, 0].tolist() == [crops[at][0] for at in expected[:k]]
