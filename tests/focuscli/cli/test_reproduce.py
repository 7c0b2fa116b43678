"""`focus reproduce` from outside: plans, tiny real runs, resuming, reuse and refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = [
    *("--model", "tiny", "--weights", "none", "--device", "cpu", "--budget", "epochs=1"),
    *("--set", "train.threads=1", "--set", "train.batch_size=8", "--set", "model.image_size=32,16"),
    *("--set", "model.global_tokens=2", "--set", "augment.margin=2", "--set", "train.warmup_steps=2"),
]


@pytest.fixture
def pa100k(coloured_dataset, isolated_home):
    """The coloured crops, prepared under the name pa100k."""
    folder = Path(os.environ["FOCUS_HOME"]) / "datasets" / "pa100k"
    shutil.copytree(coloured_dataset, folder)
    return folder


def trained(out):
    """Run folders and when their last checkpoint was written."""
    states = (out / "runs").glob("*/checkpoints/last/state.json")
    return {state.parents[2].name: state.stat().st_mtime_ns for state in states}


def test_dry_run_shows_the_plan_and_writes_nothing(focus, pa100k, coloured_dataset, tmp_path):
    plan = ("reproduce", "table3", "--dry-run", "--out", tmp_path / "out", *SMALL, "--json")
    outcome = focus(*plan, "--seeds", "0,1")
    assert outcome.code == 0, outcome.stderr
    assert len(outcome.json["runs"]) == 10
    first = outcome.json["runs"][0]
    assert (first["tests"], first["rows"]) == ([{"target": "pa100k", "scoring": "val"}], ["baseline"])
    assert not (tmp_path / "out").exists()
    shown = focus("reproduce", "table1", "--dry-run", *SMALL)
    for words in (
        "pa100k-focus-train-seed0",
        "peta: not prepared; focus prepare peta FOLDER",
        "train.epochs is 1, not 100",
        "pa100k: train 40 / val 16 / test 16 images, officially train 80,000",
    ):
        assert words in shown.stdout
    info = json.loads((pa100k / "prepare.json").read_text())
    (pa100k / "prepare.json").write_text(json.dumps({**info, "labels_only": True}))
    outcome = focus(*plan)
    assert outcome.json["runs"] == []
    assert "labels only" in outcome.json["excluded"][0]["why"]
    assert len(focus(*plan, "--datasets", f"pa100k={coloured_dataset}").json["runs"]) == 5


def test_table_3_end_to_end_then_nothing_is_trained_twice(focus, pa100k, tmp_path):
    out = tmp_path / "out"
    outcome = focus("reproduce", "table3", "--out", out, *SMALL)
    assert outcome.code == 0, outcome.stderr
    assert "| + RACL | published | 83.90 |" in outcome.stdout
    assert "~82.86" in outcome.stdout
    saved = json.loads((out / "results.json").read_text())
    assert saved["complete"]
    assert saved["runs_done"] == 5
    assert all(cell["mean"] is not None for cell in saved["cells"])
    assert len(trained(out)) == 5
    report = focus("eval", "-c", next((out / "runs").glob("pa100k-focus-train-seed0-*")), "--json")
    full = next(cell for cell in saved["cells"] if (cell["paper"], cell["metric"]) == ("+ RACL", "mA"))
    assert full["mean"] == pytest.approx(100 * report.json["metrics"]["mA"], abs=1e-3)

    before = trained(out)
    again = focus("reproduce", "table3", "--out", out, *SMALL, "--json")
    assert again.json == saved
    assert trained(out) == before
    # Metrics of this checkpoint on this data are read from their file; those of other data are measured again.
    file = out / "metrics" / "pa100k-focus-train-seed0-on-pa100k-val.json"
    kept = json.loads(file.read_text())
    kept["measured"]["metrics"]["mA"] = 0.125
    file.write_text(json.dumps(kept))
    assert focus("reproduce", "table3", "--out", out, *SMALL, "--json").json["cells"] != saved["cells"]
    file.write_text(json.dumps({**kept, "target": "other data"}))
    assert focus("reproduce", "table3", "--out", out, *SMALL, "--json").json == saved
    # The same training of another table is found anywhere under FOCUS_RUNS.
    shutil.copytree(out, Path(os.environ["FOCUS_RUNS"]) / "reproduce-table3")
    other = focus("reproduce", "table1", "--methods", "focus", "--out", tmp_path / "other", *SMALL)
    assert other.code == 0, other.stderr
    assert trained(tmp_path / "other") == {}
    assert "found finished in" in other.stderr


def test_another_protocol_and_other_data_are_other_runs(focus, pa100k, tmp_path):
    out = tmp_path / "out"
    only = ["reproduce", "table1", "--methods", "focus", "--out", out, *SMALL]
    outcome = focus(*only, "--protocol", "both", "--json")
    assert outcome.code == 0, outcome.stderr
    first = trained(out)
    assert len(first) == 2
    (how,) = [test["how"] for test in outcome.json["tests"] if test["scoring"] == "oracle"]
    assert "criterion Acc" in how
    labels = pa100k / "labels.csv"
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert focus(*only).code == 0
    assert len(trained(out)) == 3
    assert first.items() <= trained(out).items()


def test_table_2_on_one_dataset(focus, pa100k, tmp_path):
    out = tmp_path / "out"
    outcome = focus("reproduce", "table2", "--methods", "focus", "--out", out, *SMALL, "--json")
    assert outcome.code == 0, outcome.stderr
    wanted = ("FOCUS", "pa100k", "pa100k", "R@1")
    keys = ("paper", "trained_on", "target", "metric")
    found = {cell["variant"]: cell for cell in outcome.json["cells"] if tuple(map(cell.get, keys)) == wanted}
    corrected = found["trained on train, retrieval protocol corrected"]
    assert corrected["published"] == 83.7
    assert corrected["difference"] == pytest.approx(corrected["mean"] - 83.7, abs=1e-3)
    assert outcome.json["baselines"]["pa100k"]["corrected"]["majority-class baseline"]["R@1"] > 0
    # POAR's words do not fit these crops: said, not hidden.
    assert found["trained on train, retrieval protocol poar"]["mean"] is None
    assert any("protocol poar" in failure for failure in outcome.json["failures"])


def test_a_table_of_ones_own(focus, pa100k, tmp_path):
    table = tmp_path / "texts.toml"
    table.write_text(
        'title = "Texts"\nkind = "open"\ntargets = ["pa100k"]\nsplits = { pa100k = "val" }\n'
        'metrics = ["R@1", "AP seen", "prevalence seen"]\n'
        '[[rows]]\nlabel = "two epochs"\nmethod = "focus"\ndataset = "pa100k"\nset = ["train.epochs=2"]\n'
    )
    out = tmp_path / "out"
    outcome = focus("reproduce", table, "--out", out, *SMALL)
    assert outcome.code == 0, outcome.stderr
    assert "| two epochs from PA-100K | ours, trained on train, retrieval protocol corrected |" in outcome.stdout
    (run,) = (out / "runs").iterdir()
    (test,) = json.loads((out / "results.json").read_text())["tests"]
    arguments = ("--open-domain", "--target", pa100k, "--split", "val", "--device", "cpu", "--json")
    alone = focus("eval", "-c", run, *arguments).json["reports"][0]
    assert test["metrics"]["R@1"] == pytest.approx(100 * alone["recall"]["mean"]["R@1"], abs=1e-3)
    assert test["metrics"]["AP seen"] == pytest.approx(100 * alone["ranking"]["seen"]["AP"], abs=1e-3)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_zero_shot_clip_answers_its_row_without_training(focus, pa100k, weights, tmp_path):
    out = tmp_path / "out"
    outcome = focus("reproduce", "table2", "--methods", "clip", "--out", out, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.stderr
    (test,) = outcome.json["tests"]
    alone = focus("eval", "-c", "clip", "--open-domain", "--target", pa100k, "--device", "cpu", "--json")
    expected = alone.json["reports"][0]
    for name, metric in (("R@1", "recall"), ("macro R@1", "macro")):
        assert test["metrics"][name] == pytest.approx(100 * expected[metric]["mean"]["R@1"], abs=1e-3)
    assert weights.name in test["weights"]


def test_ctrl_c_is_130_and_the_next_call_does_the_rest(pa100k, tmp_path, focus):
    out = tmp_path / "out"
    arguments = ["reproduce", "table1", "--methods", "focus", "--seeds", "0,1,2", "--out", out, *SMALL]
    command = [sys.executable, "-m", "focuscli", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    results = out / "results.json"
    deadline = time.monotonic() + 300  # A busy machine trains slowly.
    while time.monotonic() < deadline and process.poll() is None:
        if results.exists() and json.loads(results.read_text())["runs_done"] >= 1:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Run the same command again" in errors
    assert "Traceback" not in errors
    saved = json.loads(results.read_text())
    assert 1 <= saved["runs_done"] < 3
    assert not saved["complete"]
    finished = {Path(run["folder"]).name for run in saved["tests"]}
    before = trained(out)
    assert focus(*arguments, "--json").json["complete"]
    after = trained(out)
    assert len(after) == 3
    assert {name: before[name] for name in finished} == {name: after[name] for name in finished}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.toml"], 3, ["nowhere.toml"]),
        (["table4"], 2, ["table4", "table1, table2, table3"]),
        (["table1", "--budget", "hours=3"], 2, ["--budget", "epochs=5"]),
        (["table1", "--budget", "epochs=0"], 2, ["--budget"]),
        (["table1", "--seeds", "a"], 2, ["--seeds"]),
        (["table1", "--protocol", "mine"], 2, ["mine", "ours, paper, both"]),
        (["table1", "--methods", "clip-ft"], 2, ["clip-ft", "vtb, poar, focus"]),
        (["table1", "--set", "train.seed=3"], 2, ["train.seed", "--seeds"]),
        (["table1", "--set", "train.epohcs=3"], 2, ["train.epohcs", "train.epochs"]),
        (["table1", "--datasets", "market"], 2, ["market", "peta"]),
        (["table1", "--datasets", "peta=nowhere"], 3, ["nowhere"]),
        (["table1", "--weights", "none"], 3, ["nothing to run", "focus prepare peta FOLDER"]),
        (["table1", "--config", "nowhere.toml"], 3, ["nowhere.toml"]),
    ],
)
def test_what_is_refused(refused, arguments, code, words):
    outcome = refused(code, words[0], "reproduce", *arguments)
    assert words[-1] in outcome.stderr


def test_missing_weights_stop_a_run_but_not_a_dry_run(focus, pa100k, tmp_path):
    for more, code in (([], 4), (["--dry-run"], 0)):
        outcome = focus("reproduce", "table3", "--out", tmp_path / "out", *more)
        assert outcome.code == code
        assert "focus prepare weights" in outcome.stderr
        assert not (tmp_path / "out").exists()
