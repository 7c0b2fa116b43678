"""Round ticks and where values stand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.report.axes import linear_axis, log_axis


def test_a_log_axis_covers_its_values_in_whole_decades():
    axis = log_axis(0.004, 4.7)
    assert [value for value, _ in axis.ticks] == pytest.approx([0.001, 0.01, 0.1, 1, 10])
    assert [axis.place(value) for value in (0.001, 0.1, 10)] == pytest.approx([0, 0.5, 1])
    assert axis.place(1e-9) == 0
    assert log_axis(1.0, 1.0).high == 10


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.booleans())
def test_a_linear_axis_has_few_even_ticks_and_holds_its_range(low, width, inside):
    axis = linear_axis(low, low + width, inside=inside)
    values = [value for value, _ in axis.ticks]
    # At least a tick or two and never a crowd.
    assert 1 <= len(values) <= 8
    steps = {round(b - a, 9) for a, b in itertools.pairwise(values)}
    assert max(steps, default=0) - min(steps, default=0) < 1e-6 * max(1.0, width)
    assert axis.low <= low + 1e-6 * width
    assert axis.high >= low + width - 1e-6 * width
    assert 0 <= axis.place(low) <= axis.place(low + width) <= 1
