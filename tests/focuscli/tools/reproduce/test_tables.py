"""Published numbers: golden cells typed from the paper, what must hold between them, and tables of one's own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from focuscli.config import METHODS
from focuscli.errors import InputError, UsageError
from focuscli.tools.reproduce.tables import TABLES, moved, official, read_table

EXAMPLES = sorted((Path(__file__).parents[4] / "examples" / "tables").glob("*.toml"))


def values(name):
    """Published values by label, dataset, target and metric."""
    table = read_table(name)
    return {
        (row.label, row.dataset, target, metric): table.published(row, target, metric)
        for row in table.rows
        for target in table.targets_of(row)
        for metric in table.metrics
    }


PUBLISHED = """
table1 PGDM rapv1 rapv1 mA 74.31
table1 SSCsoft pa100k pa100k Recall 89.10
table1 VTB peta peta Acc 79.60
table1 DAFL pa100k pa100k Prec 87.01
table1 SOFA peta peta F1 87.80
table1 POAR peta peta mA 83.10
table1 POAR peta peta Acc None
table1 POAR* rapv1 rapv1 Recall 82.38
table1 FOCUS peta peta mA 88.04
table1 FOCUS rapv1 rapv1 F1 80.91
table2 CLIP None pa100k R@1 43.4
table2 POAR pa100k peta R@1 42.3
table2 VTB pa100k rapv1 R@2 50.7
table2 POAR peta rapv1 R@1 42.2
table2 FOCUS pa100k peta R@1 51.2
table2 FOCUS rapv1 rapv1 R@2 95.3
table3 +RACL pa100k pa100k Prec 89.29
table3 baseline pa100k pa100k mA None
"""


def test_published_values():
    for line in PUBLISHED.strip().splitlines():
        name, label, source, target, metric, value = (None if word == "None" else word for word in line.split())
        found = values(name)[label.replace("+", "+ "), source, target, metric]
        assert found == (None if value is None else float(value)), line


@pytest.mark.parametrize(("name", "complete"), [("table1", 28), ("table3", 2)])
def test_the_noted_definition_of_f1_is_the_one_that_the_row_fits(name, complete):
    found = values(name)
    checked = 0
    for row in read_table(name).rows:
        precision, recall, f1 = (
            found[row.label, row.dataset, row.dataset, metric] for metric in ("Prec", "Recall", "F1")
        )
        if None in (precision, recall, f1):
            assert row.f1 in ("unknown", "-")
            continue
        # The harmonic mean of the means lies above the mean of per-image F1, as it is concave.
        gap = 2 * precision * recall / (precision + recall) - f1
        assert row.f1 == ("of means" if abs(gap) <= 0.02 else "per image" if gap > 0 else "neither")
        checked += 1
    assert checked == complete


def test_table_3_is_marked_reconstructed_and_adds_up():
    rows = read_table("table3").rows
    assert [row.label for row in rows] == ["baseline", "+ RLP", "+ MGMT", "+ AVFE", "+ RACL"]
    assert rows[0].published == {}
    for before, row in pairwise(rows[1:]):
        for metric, gain in row.gain.items():
            if metric in before.published:
                assert row.published[metric] - gain == pytest.approx(before.published[metric])
    assert [row.reconstructed for row in rows] == [False, True, True, True, False]
    focus = next(row for row in read_table("table1").rows if (row.label, row.dataset) == ("FOCUS", "pa100k"))
    assert rows[-1].published == focus.published
    assert all(set(fewer.without) < set(more.without) for more, fewer in pairwise(rows))


@pytest.mark.parametrize("name", [*TABLES, *map(str, EXAMPLES)])
def test_tables_are_sound(name):
    table = read_table(name)
    assert set(table.methods) <= set(METHODS)
    if name in TABLES:
        assert set(table.datasets) <= set(official())
    assert [sum(entry["counts"].values()) for entry in official().values()] == [19000, 100000, 41585]
    assert all(value is None or 0 < value < 100 for value in values(name).values())
    assert set(table.splits) <= set(table.targets)


def test_the_ladder_of_table_3_moves_to_another_dataset_without_its_published_values():
    table = read_table("table3")
    there = moved(table, "peta")
    assert there.datasets == ("peta",)
    assert [row.without for row in there.rows] == [row.without for row in table.rows]
    assert not any(row.published or row.gain for row in there.rows)
    for name, dataset in (("table1", "peta2"), ("table2", "peta"), ("table3", "peta2")):
        with pytest.raises(UsageError):
            moved(read_table(name), dataset)


ROW = 'title = "t"\nkind = "closed"\nmetrics = ["mA"]\n[[rows]]\nlabel = "a"\ndataset = "peta"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Cannot read"),
        ("title = ", "not a readable TOML"),
        ('title = "t"', "kind Field required"),
        (ROW + "colour = 1\n", "rows.0.colour"),
        (ROW.replace("closed", "open"), "targets"),
        (ROW + '[[rows]]\nlabel = "a"\ndataset = "peta"\n', "two rows"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path, content, words):
    file = tmp_path / "own.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=words):
        read_table(str(file))
