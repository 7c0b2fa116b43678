from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.texts import Text
from focuscli.inference.predict import TextDecision
from focuscli.tools.gallery.query import Hit, Query, top_k

numbers = st.floats(-40, 40)


def query_of(wanted: int, *thresholds: float | None) -> Query:
    """The first so many texts wanted, the others not."""
    texts = [TextDecision(Text(str(number), "head", "", ""), True, at, "val") for number, at in enumerate(thresholds)]
    return Query(tuple(texts[:wanted]), tuple(texts[wanted:]))


def both(query: Query, scores: list) -> list[float]:
    """`Query.values`, which are those of `Query.sql` on columns whose names need quoting."""
    values = query.values(np.array(scores)).tolist()
    names = ['a"b', "group", "c d"][: len(query.decisions)]
    cells = ", ".join(f"({', '.join(map(repr, map(float, row)))})" for row in scores)
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    sql = f"SELECT {query.sql(names)} FROM (VALUES {cells}) AS crops({listed})"
    assert [row[0] for row in duckdb.sql(sql).fetchall()] == pytest.approx(values, rel=1e-12, abs=1e-12)
    return values


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5))
def test_the_value_is_the_log_odds_of_all_wanted_and_nothing_unwanted(scores):
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    for row, value in zip(scores, both(query_of(2, 1.0, -2.0, 0.5), scores), strict=True):
        all_of_it = sigmoid(row[0] - 1) * sigmoid(row[1] + 2) * (1 - sigmoid(row[2] - 0.5))
        assert sigmoid(value) == pytest.approx(all_of_it, rel=1e-9)


@pytest.mark.parametrize(
    ("query", "scores", "expected"),
    [
        (query_of(1, 2.0), [[5.0], [1.0]], [3.0, -1.0]),
        (query_of(0, 2.0), [[5.0], [1.0]], [-3.0, 1.0]),
        (query_of(1, None), [[5.0]], [5.0]),
        (query_of(1, None, None), [[5.0, 2.0]], [3.0]),
    ],
)
def test_one_text_or_no_threshold(query, scores, expected):
    assert both(query, scores) == expected


def test_far_from_thresholds_values_stay_finite_and_in_order():
    scores = [[1e5, 1e5], [200.0, 200.0], [0.0, 0.0], [-200.0, 200.0], [-1e5, -1e5]]
    values = both(query_of(2, 0.0, 0.0), scores)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.sampled_from([None, "a", "b", "c"]), st.integers(0, 2)), max_size=40),
    st.integers(1, 12),
    st.booleans(),
)
def test_the_best_of_any_parts_are_the_best_of_all(crops, k, per_group):
    """By value, equal ones by position; of each group the first alone, and a crop without one is a group of its own."""
    hits = [Hit(value, at // 7, at % 7, None, group, ()) for at, (value, group, _) in enumerate(crops)]
    shares = [[hit for hit, crop in zip(hits, crops, strict=True) if crop[2] == owner] for owner in range(3)]
    found = top_k(
        [hit for share in shares for hit in top_k(share[::-1], k, per_group=per_group)], k, per_group=per_group
    )
    expected, seen = [], set()
    for hit in sorted(hits, key=lambda hit: -hit.value):
        if not per_group or hit.group is None or hit.group not in seen:
            expected.append(hit)
            seen.add(hit.group)
    assert found == expected[:k]
