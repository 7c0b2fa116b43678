from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focuscli.errors import UsageError
from focuscli.tools.gallery.query import Query

numbers = st.floats(-40, 40)
rows = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_one_text_is_ordered_by_its_distance_to_the_threshold():
    assert Query((0,), thresholds=(2.0,)).values(torch.tensor([[5.0], [1.0]])).tolist() == [3.0, -1.0]
    assert Query((0,), (), (None,)).values(torch.tensor([[5.0]])).tolist() == [5.0]


@given(rows)
def test_the_value_is_the_log_odds_of_all_wanted_and_nothing_unwanted(scores):
    query = Query((0, 1), (2,), (1.0, -2.0, 0.5))
    for row, value in zip(scores, query.values(torch.tensor(scores, dtype=torch.float64)).tolist(), strict=True):
        all_of_it = sigmoid(row[0] - 1) * sigmoid(row[1] + 2) * (1 - sigmoid(row[2] - 0.5))
        assert sigmoid(value) == pytest.approx(all_of_it, rel=1e-9)


@given(rows, st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=5, max_size=5))
def test_a_value_moves_no_farther_than_the_scores_do(scores, changes):
    """What the tolerance of `Best` rests on."""
    query = Query((0, 1), (2,), (1.0, -2.0, 0.5))
    before = torch.tensor(scores, dtype=torch.float64)
    moved = before + torch.tensor(changes[: len(scores)], dtype=torch.float64)
    difference = (query.values(moved) - query.values(before)).abs()
    assert (difference <= (moved - before).abs().sum(dim=1) + 1e-9).all()


@pytest.mark.parametrize("thresholds", [(1.0, -2.0, 0.5), (None, 1.0, 1.0), ()])
@given(scores=rows, widths=st.tuples(*[st.floats(0, 5)] * 3), at=st.tuples(*[st.floats(0, 1)] * 3))
def test_most_is_not_exceeded_between_the_bounds(thresholds, scores, widths, at):
    query = Query((0, 1), (2,), thresholds)
    lower = torch.tensor(scores, dtype=torch.float64)
    upper = lower + torch.tensor(widths, dtype=torch.float64)
    inside = lower + torch.tensor(at, dtype=torch.float64) * (upper - lower)
    assert (query.most(lower, upper) >= query.values(inside) - 1e-9).all()


def test_without_thresholds_scores_are_added():
    assert Query((0,), (1,), (None, 3.0)).values(torch.tensor([[5.0, 2.0]])).tolist() == [3.0]
    assert not Query((0,), (1,), (None, 3.0)).in_probability


def test_far_from_thresholds_values_stay_finite_and_in_order():
    query = Query((0, 1), thresholds=(0.0, 0.0))
    values = query.values(torch.tensor([[1e5, 1e5], [500.0, 500.0], [0.0, 0.0], [-500.0, 500.0], [-1e5, -1e5]]))
    assert values.isfinite().all()
    assert (values.diff() < 0).sum() == 4


def test_a_query_without_a_text_is_refused():
    with pytest.raises(UsageError):
        Query(())
