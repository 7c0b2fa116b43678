"""Charts: well-formed, honest about their numbers, labels that do not cover each other."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.tools.report.axes import Axis
from focuscli.tools.report.svg import (
    LEVELS,
    Series,
    block_matrix,
    line_chart,
    number_matrix,
    small_chart,
    spread,
)


def test_a_line_is_drawn_where_its_numbers_are():
    x, y = Axis(0, 10, [(0, "0"), (10, "10")]), Axis(0, 1, [(0, "0"), (1, "100")])
    points = [(0, 0.0), (5, 0.5), (6, None), (10, 1.0)]
    picture = line_chart([Series("mA", "m<A", points)], x, y, title="a & b", labels=True, cursor=5, dots=True)
    tree = ElementTree.fromstring(picture)
    assert tree.get("aria-label") == "a & b"
    left, top, wide, high, *ends = map(float, tree.get("data-plot").split())
    assert ends == [0, 10, 0, 1]
    (line,) = tree.findall("path[@data-series='mA']")
    drawn = [float(number) for number in re.findall(r"[\d.]+", line.get("d"))]
    assert drawn == pytest.approx([left, top + high, left + wide / 2, top + high / 2, left + wide, top], abs=0.06)
    # The missing point breaks the line in two.
    assert line.get("d").count("M") == 2
    assert len(tree.findall("circle")) == 3
    assert "m<A" in [text.text for text in tree.findall("text")]


def test_a_matrix_is_drawn_cell_by_cell():
    values = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.26], [0.0, 0.26, 2.0]]
    tree = ElementTree.fromstring(block_matrix(values, [("head", 1), ("upper", 2)], title="t"))
    drawn = [[0.0] * 3 for _ in range(3)]
    for path in tree.iter("path"):
        if path.get("class") == "cell":
            for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path.get("d")):
                for column in range(int(x), int(x) + int(length)):
                    assert drawn[int(y)][column] == 0.0
                    drawn[int(y)][column] = float(path.get("fill-opacity"))
    for row, wanted in zip(drawn, values, strict=True):
        assert row == pytest.approx([min(1.0, value) for value in wanted], abs=0.5 / LEVELS + 1e-3)
    assert [text.text for text in tree.iter("text")] == ["head", "upper"]


def test_numbers_stand_in_their_cells():
    tree = ElementTree.fromstring(number_matrix([[1.0, -0.12], [0.07, 0.5]], ["a", "b"], ["c", "d"], title="t"))
    assert [text.text for text in tree.iter("text")] == ["c", "d", "a", "1", "−.12", "b", ".07", ".50"]
    shares = number_matrix([[0.874, 0.126]], ["head"], ["g1", "l1"], title="t", percent=True)
    assert [text.text for text in ElementTree.fromstring(shares).iter("text")][-2:] == ["87", "13"]


def test_small_charts_are_well_formed():
    picture = small_chart([Series("mA", "", [(0, 0.5), (1, None)])], Axis(0, 1, []), [("val", 0.5)], title="<hat>")
    assert ElementTree.fromstring(picture).get("aria-label") == "<hat>"


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_keep_their_order_and_their_distance(places):
    moved = spread(places, 12)
    ordered = [moved[index] for index in sorted(range(len(places)), key=lambda index: places[index])]
    assert all(b - a >= 12 - 1e-6 for a, b in itertools.pairwise(ordered))
    if len(places) == 1:
        assert moved == places
