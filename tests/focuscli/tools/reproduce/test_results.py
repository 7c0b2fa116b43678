"""Results: values, spread and differences by hand-made numbers, and the three layouts."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from focuscli.tools.reproduce.plan import Settings, make_plan
from focuscli.tools.reproduce.results import Measured, as_markdown, compare, write_results
from focuscli.tools.reproduce.tables import read_table


def measured(run, target="pa100k", scoring="val", **metrics):
    return Measured(run, target, scoring, metrics, f"/runs/{run}", "val: per attribute", "from scratch")


@pytest.fixture
def two_seeds(prepared):
    """Table I, FOCUS on PA-100K, two seeds."""
    plan = make_plan(read_table("table1"), prepared("pa100k"), Settings(seeds=(0, 1), methods=("focus",)))
    tests = [
        measured("pa100k-focus-train-seed0", mA=0.80, Acc=0.7, Prec=0.8, Recall=0.8, F1=0.81, F1h=0.9),
        measured("pa100k-focus-train-seed1", mA=0.84, Acc=0.7, Prec=0.8, Recall=0.8, F1=0.83, F1h=0.9),
    ]
    return plan, tests


def one(results, **wanted):
    (found,) = [cell for cell in results["cells"] if wanted.items() <= cell.items()]
    return found


def test_mean_spread_and_difference(two_seeds):
    plan, tests = two_seeds
    results = compare(plan, tests)
    cell = one(results, paper="FOCUS", target="pa100k", metric="mA")
    assert (cell["published"], cell["mean"], cell["difference"]) == (83.90, 82.0, -1.9)
    assert cell["spread"] == pytest.approx(2 * 2**0.5, abs=1e-4)
    assert cell["values"] == {"0": 80.0, "1": 84.0}
    assert (results["runs_done"], results["runs_planned"], results["complete"]) == (2, 2, True)
    f1 = one(results, paper="FOCUS", target="pa100k", metric="F1")
    assert f1["mean"] == 82.0  # per image, as FOCUS's printed F1
    # Runs to come leave their cells empty.
    half, empty = (compare(plan, tests[:count]) for count in (1, 0))
    assert (half["runs_done"], half["complete"]) == (1, False)
    assert "Not complete" in as_markdown(plan, half)
    for results, key in ((half, "spread"), (empty, "mean"), (empty, "difference")):
        assert one(results, paper="FOCUS", target="pa100k", metric="mA")[key] is None
    # A printed F1 that is a harmonic mean is compared with ours.
    rows = tuple(row.model_copy(update={"f1": "of means"}) if row.label == "FOCUS" else row for row in plan.table.rows)
    table = plan.table.model_copy(update={"rows": rows})
    runs = tuple(dataclasses.replace(run, rows=[row for row in rows if row.label == "FOCUS"]) for run in plan.runs)
    changed = compare(dataclasses.replace(plan, table=table, runs=runs), tests)
    f1 = one(changed, paper="FOCUS", target="pa100k", metric="F1")
    assert (f1["ours_metric"], f1["mean"]) == ("F1h", 90.0)


def test_gains_of_table_3_are_paired_by_seed(prepared):
    plan = make_plan(read_table("table3"), prepared("pa100k"), Settings(seeds=(0, 1)))
    tests = [measured(run.name, mA=0.5 + 0.01 * position) for position, run in enumerate(plan.runs)]
    results = compare(plan, tests)
    gain = one(results, metric="gain mA", paper="+ MGMT")
    assert (gain["published"], gain["printed"]) == (0.54, True)
    assert gain["mean"] == pytest.approx(2.0)  # two seeds per rung: rungs are two runs apart
    assert gain["difference"] == pytest.approx(1.46)
    assert not one(results, metric="mA", paper="+ MGMT")["printed"]
    text = as_markdown(plan, results)
    assert "~81.52" in text
    assert "~83.90" not in text


def test_the_three_files_hold_every_cell(two_seeds, tmp_path):
    plan, tests = two_seeds
    plan = dataclasses.replace(plan, deviations=("train.epochs is 2, not 100",))
    files = write_results(plan, compare(plan, tests), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)
    text, comma_separated, saved = (file.read_text() for file in files)
    rows, saved = [*csv.DictReader(comma_separated.splitlines())], json.loads(saved)
    for line in (
        "- train.epochs is 2, not 100",
        "| FOCUS on PA-100K | published | 83.90 | 81.23 | 89.29 | 88.97 | 88.41 |",
        "| FOCUS on PA-100K | ours, trained on train, thresholds from val | 82.00 ± 2.83 | 70.00 ± 0.00 |",
        "| FOCUS on PA-100K | difference, trained on train, thresholds from val | -1.90 | -11.23 |",
        "| SOFA on PETA | published | 87.10 | 81.10 | 87.80 | 88.40 | 87.80 |",
        "Printed F1 fits the harmonic mean of Prec and Recall (ours: F1h): PGDM on PETA",
    ):
        assert line in text
    assert len(rows) == len(saved["cells"]) == 29 * 5
    row = next(row for row in rows if row["paper_method"] == "FOCUS" and row["target"] == "pa100k")
    shown = {"table": "table1", "metric": "mA", "published": "83.90", "published_is": "printed", "ours": "82.00"}
    assert {**shown, "spread": "2.83", "seeds": "2", "difference": "-1.90", "f1_definition": "-"}.items() <= row.items()
    assert saved["complete"]
    assert saved["deviations"] == [*plan.deviations]


def test_open_domain_rows_stand_beside_the_baselines(prepared):
    plan = make_plan(read_table("table2"), prepared("peta", "pa100k"), Settings(methods=("focus",)))
    run = "pa100k-focus-train-seed0"
    tests = [
        Measured("majority-class baseline", "peta", "corrected", {"R@1": 0.627, "R@2": 0.882}, "", ""),
        measured(run, "peta", "corrected", **{"R@1": 0.5, "R@2": 0.7, "macro R@1": 0.31}),
        dataclasses.replace(measured(run, "peta", "poar"), failure="no such words"),
    ]
    text, variant = as_markdown(plan, compare(plan, tests)), "trained on train, retrieval protocol corrected"
    for line in (
        "| majority-class baseline | retrieval protocol corrected | 62.70 | 88.20 |  |",
        "| FOCUS from PA-100K | published | 51.20 | 77.80 |",
        f"| FOCUS from PA-100K | ours, {variant} | 50.00 | 70.00 | 31.00 |",
        f"| FOCUS from PA-100K | difference, {variant} | -1.20 | -7.80 |",
        "- not measured: pa100k-focus-train-seed0 on peta, retrieval protocol poar: no such words",
    ):
        assert line in text
