"""Results: values, spread and differences by hand-made numbers, and the three layouts."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from focuscli.tools.reproduce.plan import Settings, make_plan
from focuscli.tools.reproduce.results import Measured, as_csv, as_markdown, compare, write_results
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


def one(results, metric, paper="FOCUS", target="pa100k"):
    (found,) = [cell for cell in results.cells if (cell.paper, cell.target, cell.metric) == (paper, target, metric)]
    return found


def test_mean_spread_and_difference(two_seeds):
    results = compare(*two_seeds)
    cell = one(results, "mA")
    assert (cell.published, cell.mean, cell.difference) == (83.90, 82.0, -1.9)
    assert cell.spread == pytest.approx(2 * 2**0.5, abs=1e-4)
    assert cell.values == {"0": 80.0, "1": 84.0}
    assert len(results.done) == len(results.plan.runs) == 2
    assert one(results, "F1").mean == 82.0  # per image, as FOCUS's printed F1


def test_f1_of_means_is_compared_with_our_harmonic_mean(two_seeds):
    plan, tests = two_seeds
    rows = tuple(row.model_copy(update={"f1": "of means"}) if row.label == "FOCUS" else row for row in plan.table.rows)
    plan = dataclasses.replace(plan, table=plan.table.model_copy(update={"rows": rows}))
    cell = one(compare(plan, tests), "F1")
    assert (cell.ours_metric, cell.mean) == ("F1h", 90.0)


def test_runs_to_come_leave_their_cells_empty(two_seeds):
    plan, tests = two_seeds
    results = compare(plan, tests[:1])
    assert (len(results.done), len(plan.runs)) == (1, 2)
    assert one(results, "mA").spread is None
    assert "Not complete" in as_markdown(results)
    empty = compare(plan, [])
    assert one(empty, "mA").mean is None
    assert one(empty, "mA").difference is None


def test_gains_of_table_3_are_paired_by_seed(prepared):
    plan = make_plan(read_table("table3"), prepared("pa100k"), Settings(seeds=(0, 1)))
    rungs = [run.name for run in plan.runs]
    by_rung = {name: 0.5 + 0.01 * position for position, name in enumerate(rungs)}
    results = compare(plan, [measured(name, mA=value) for name, value in by_rung.items()])
    gain = one(results, "gain mA", paper="+ MGMT")
    assert (gain.published, gain.printed) == (0.54, True)
    assert gain.mean == pytest.approx(2.0)  # two seeds per rung: rungs are two names apart
    assert gain.difference == pytest.approx(1.46)
    assert not one(results, "mA", paper="+ MGMT").printed
    assert "~81.52" in as_markdown(results)
    assert "~83.90" not in as_markdown(results)


def test_markdown_says_what_deviates_and_which_f1(two_seeds):
    plan, tests = two_seeds
    text = as_markdown(compare(dataclasses.replace(plan, deviations=("train.epochs is 2, not 100",)), tests))
    assert "- train.epochs is 2, not 100" in text
    assert "| FOCUS on PA-100K | published | 83.90 | 81.23 | 89.29 | 88.97 | 88.41 |" in text
    assert "| FOCUS on PA-100K | ours, trained on train, thresholds from val | 82.00 ± 2.83 | 70.00 ± 0.00 |" in text
    assert "| FOCUS on PA-100K | difference, trained on train, thresholds from val | -1.90 | -11.23 |" in text
    assert "| SOFA on PETA | published | 87.10 | 81.10 | 87.80 | 88.40 | 87.80 |" in text
    assert "Printed F1 fits the harmonic mean of Prec and Recall (ours: F1h): PGDM on PETA" in text


def test_csv_and_json_hold_every_cell(two_seeds, tmp_path):
    results = compare(*two_seeds)
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert len(rows) == len(results.cells) == 29 * 5
    row = next(row for row in rows if row["paper_method"] == "FOCUS" and row["target"] == "pa100k")
    assert (row["metric"], row["published"], row["ours"], row["difference"]) == ("mA", "83.90", "82.00", "-1.90")
    files = write_results(results, tmp_path / "out")
    assert sorted(file.name for file in files) == ["results.csv", "results.json", "results.md"]
    saved = json.loads((tmp_path / "out" / "results.json").read_text())
    assert saved["complete"]
    assert saved["deviations"] == [*two_seeds[0].deviations]
    assert len(saved["cells"]) == len(rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)


def test_open_domain_rows_stand_beside_the_baselines(prepared):
    plan = make_plan(read_table("table2"), prepared("peta", "pa100k"), Settings(methods=("focus",)))
    run = "pa100k-focus-train-seed0"
    tests = [
        Measured("majority-class baseline", "peta", "corrected", {"R@1": 0.627, "R@2": 0.882}, "", ""),
        measured(run, "peta", "corrected", **{"R@1": 0.5, "R@2": 0.7, "macro R@1": 0.31}),
        dataclasses.replace(measured(run, "peta", "poar"), failure="no such words"),
    ]
    results = compare(plan, tests)
    wanted = ("FOCUS", "pa100k", "peta", "R@1", "trained on train, retrieval protocol corrected")
    (cell,) = [
        cell
        for cell in results.cells
        if (cell.paper, cell.trained_on, cell.target, cell.metric, cell.variant) == wanted
    ]
    assert (cell.published, cell.mean, cell.difference) == (51.2, 50.0, -1.2)
    assert results.baselines["peta"]["corrected"]["majority-class baseline"]["R@1"] == 62.7
    text = as_markdown(results)
    assert "| majority-class baseline | retrieval protocol corrected | 62.70 | 88.20 |  |" in text
    assert "| FOCUS from PA-100K | published | 51.20 | 77.80 |" in text
    assert (
        "| FOCUS from PA-100K | ours, trained on train, retrieval protocol corrected | 50.00 | 70.00 | 31.00 |" in text
    )
    assert "- not measured: pa100k-focus-train-seed0 on peta, retrieval protocol poar: no such words" in text
