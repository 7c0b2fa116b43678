"""Published numbers: golden cells typed from the paper, and what must hold between them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from focuscli.config import METHODS
from focuscli.errors import UsageError
from focuscli.tools.reproduce.published import TABLES, fitting_definition, moved, official, read_table


def cells(name):
    return {
        (row.paper, row.dataset, cell.target, cell.figure): cell for row in read_table(name).rows for cell in row.cells
    }


@pytest.mark.parametrize(
    ("paper", "dataset", "figure", "value"),
    [
        ("PGDM", "rapv1", "mA", 74.31),
        ("SSCsoft", "pa100k", "Recall", 89.10),
        ("CAS", "rapv1", "mA", 84.18),
        ("VTB", "peta", "Acc", 79.60),
        ("DAFL", "pa100k", "Prec", 87.01),
        ("SOFA", "peta", "F1", 87.80),
        ("POAR", "peta", "mA", 83.10),
        ("POAR*", "rapv1", "Recall", 82.38),
        ("FOCUS", "peta", "mA", 88.04),
        ("FOCUS", "pa100k", "Prec", 89.29),
        ("FOCUS", "rapv1", "F1", 80.91),
    ],
)
def test_cells_of_table_1(paper, dataset, figure, value):
    cell = cells("table1")[paper, dataset, dataset, figure]
    assert cell.value == value
    assert cell.printed


@pytest.mark.parametrize(
    ("paper", "source", "target", "recall_1", "recall_2"),
    [
        ("CLIP", None, "pa100k", 43.4, 65.9),
        ("VTB", "pa100k", "rapv1", 24.2, 50.7),
        ("POAR", "peta", "rapv1", 42.2, 68.6),
        ("FOCUS", "pa100k", "peta", 51.2, 77.8),
        ("FOCUS", "rapv1", "rapv1", 80.8, 95.3),
    ],
)
def test_cells_of_table_2(paper, source, target, recall_1, recall_2):
    found = cells("table2")
    assert found[paper, source, target, "R@1"].value == recall_1
    assert found[paper, source, target, "R@2"].value == recall_2


def test_table_2_agrees_with_the_gains_in_the_papers_text():
    found = {key: cell.value for key, cell in cells("table2").items()}
    for source, target, gain in (("pa100k", "peta", 8.9), ("rapv1", "peta", 1.3), ("rapv1", "pa100k", 0.6)):
        ours, theirs = (found[paper, source, target, "R@1"] for paper in ("FOCUS", "POAR"))
        assert ours - theirs == pytest.approx(gain)


@pytest.mark.parametrize("name", ["table1", "table3"])
def test_the_noted_definition_of_f1_is_the_one_that_the_row_fits(name):
    checked = 0
    for row in read_table(name).rows:
        values = {cell.figure: cell.value for cell in row.cells}
        if None in values.values():
            assert row.f1 in ("unknown", "-")
            continue
        assert row.f1 == fitting_definition(values["Prec"], values["Recall"], values["F1"]), row.key
        checked += 1
    assert checked == {"table1": 28, "table3": 2}[name]


def test_table_3_is_marked_reconstructed_and_adds_up():
    rows = read_table("table3").rows
    assert [row.paper for row in rows] == ["baseline", "+ RLP", "+ MGMT", "+ AVFE", "+ RACL"]
    assert all(cell.value is None for cell in rows[0].cells)
    for before, row in pairwise(rows[1:]):
        for earlier, cell in zip(before.cells, row.cells, strict=True):
            if cell.gain is not None:
                assert cell.value - cell.gain == pytest.approx(earlier.value)
    assert not any(cell.printed for row in rows[:-1] for cell in row.cells)
    assert all(cell.printed for cell in rows[-1].cells)
    focus = next(row for row in read_table("table1").rows if row.key == ("FOCUS", "pa100k"))
    assert [cell.value for cell in rows[-1].cells] == [cell.value for cell in focus.cells]
    switched_off = [set(row.without) for row in rows]
    assert all(fewer < more for more, fewer in pairwise(switched_off))


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_sound(name):
    table = read_table(name)
    assert len({row.key for row in table.rows}) == len(table.rows)
    assert set(table.methods) <= set(METHODS)
    assert set(table.datasets) <= set(official())
    for row in table.rows:
        assert {cell.figure for cell in row.cells} == set(table.figures)
        assert all(cell.value is None or 0 < cell.value < 100 for cell in row.cells)


def test_an_unknown_table_is_refused():
    with pytest.raises(UsageError, match="table4"):
        read_table("table4")


def test_official_counts():
    assert sum(official()["peta"].counts.values()) == 19000
    assert sum(official()["pa100k"].counts.values()) == 100000
    assert sum(official()["rapv1"].counts.values()) == 41585


def test_the_ladder_of_table_3_moves_to_another_dataset_without_its_published_values():
    table = read_table("table3")
    there = moved(table, "peta")
    assert there.datasets == ("peta",)
    assert [(row.paper, row.method, row.without) for row in there.rows] == [
        (row.paper, row.method, row.without) for row in table.rows
    ]
    assert all(cell.value is None and cell.gain is None for row in there.rows for cell in row.cells)
    assert "PETA" in there.title
    assert read_table("table3").datasets == ("pa100k",)


@pytest.mark.parametrize(("name", "dataset"), [("table1", "peta2"), ("table2", "peta"), ("table3", "peta2")])
def test_what_cannot_move_is_refused(name, dataset):
    with pytest.raises(UsageError):
        moved(read_table(name), dataset)
