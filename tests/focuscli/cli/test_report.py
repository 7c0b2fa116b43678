"""`focus report`: what it writes, and what it says if it cannot."""

from __future__ import annotations

import json
import shutil

import pytest

from focuscli.data.folder import read_folder


@pytest.fixture
def run(trained_run, tmp_path):
    """A run that a test may change."""
    target = tmp_path / "runs" / "mine"
    shutil.copytree(trained_run, target, ignore=shutil.ignore_patterns("eval", "report.html"))
    return target


def test_the_page_goes_into_the_run_folder_and_is_not_replaced_without_force(focus, refused, run):
    outcome = focus("report", run, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["report"] == str(run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert outcome.json["bytes"] == len(page.encode()) < 3_000_000
    accuracy = outcome.json["metrics"]["mine"]["mA"]
    assert f"{100 * accuracy:.2f}" in page
    assert outcome.json["weights"] == {"mine": "from scratch"}
    assert outcome.json["threshold_source"]["mine"].startswith("val: per attribute")
    assert focus("eval", "-c", run, "--json").json["metrics"]["mA"] == accuracy
    refused(3, "--force", "report", run)
    assert (run / "report.html").read_text(encoding="utf-8") == page
    assert focus("report", run, "--force", "--no-crops").code == 0
    assert "data:image/webp" not in (run / "report.html").read_text(encoding="utf-8")


def test_several_runs_make_a_comparison_and_figures_by_run(focus, run, tmp_path, monkeypatch):
    other = tmp_path / "others" / "mine"
    shutil.copytree(run, other)
    monkeypatch.chdir(tmp_path)
    both = focus("report", run, other, "--errors", "0", "--figures", "figures", "-o", "both.html", "--json")
    assert both.code == 0, both.stderr
    assert both.json["report"] == "both.html"
    assert [*both.json["metrics"]] == ["runs/mine", "others/mine"]
    assert "2 runs compared" in (tmp_path / "both.html").read_text(encoding="utf-8")
    figures = [*(tmp_path / "figures" / "others" / "mine").iterdir()]
    assert {"losses.pdf", "thresholds.pdf", "block-matrix.pdf"} < {file.name for file in figures}
    assert all(file.read_bytes().startswith(b"%PDF") for file in figures)
    assert len(both.json["files"]) == 1 + 2 * len(figures)
    assert focus("report", run, "--figures", "figures").code == 3
    outcome = focus("report", run, "--figures", "alone", "--format", "png")
    assert outcome.stdout == "alone\n"
    assert not (run / "report.html").exists()
    assert (tmp_path / "alone" / "losses.png").read_bytes().startswith(b"\x89PNG")


def changed_dataset(coloured_dataset, target, file, old, new):
    """A copy of the dataset whose last line with `old` in one of its files says `new` instead."""
    shutil.copytree(coloured_dataset, target)
    path = target / file
    path.write_text(new.join(path.read_text().rsplit(old, 1)))
    return target


def change_state(run, change):
    for state in run.glob("checkpoints/*/state.json"):
        content = json.loads(state.read_text())
        change(content)
        state.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nothing"], 3, "nothing"),
        (["{run}", "{run}"], 2, "twice"),
        (["{run}", "-o", "page.pdf"], 2, "page.pdf"),
        (["{run}", "--format", "pdf"], 2, "--figures"),
        (["{run}", "--figures", "figures", "--format", "gif"], 2, "gif"),
        (["{run}", "--split", "west"], 3, "west"),
        (["{run}", "-d", "nowhere"], 3, "nowhere"),
        (["{alone}"], 3, "Name the folder that focus train wrote"),
        (["{run}", "-d", "{gone}"], 3, "No such image"),
        ([], 4, "No trained model"),
    ],
)
def test_it_refuses(refused, run, coloured_dataset, tmp_path, arguments, code, word):
    shutil.copytree(run / "checkpoints" / "best", tmp_path / "alone")
    root = str(read_folder(coloured_dataset).root)
    places = {
        "run": run,
        "alone": tmp_path / "alone",
        "gone": changed_dataset(coloured_dataset, tmp_path / "gone", "schema.toml", root, str(tmp_path / "empty")),
    }
    refused(code, word, "report", *(argument.format(**places) for argument in arguments))
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("content", [None, "untested", b"", b'{"epoch": 1}\n{"epoch": ', b"\xff"])
def test_a_run_without_history_or_thresholds_names_the_command_that_writes_them(focus, refused, run, content):
    if content is None:
        (run / "metrics.jsonl").unlink()
    elif content == "untested":
        change_state(run, lambda state: state.update(thresholds={}))
    else:
        (run / "metrics.jsonl").write_bytes(content)
    refused(3, f"focus train --resume --run {run}", "report", run)
    if content is None:  # the command that it names helps
        assert focus("train", "--resume", "--run", run).code == 0
        assert (run / "metrics.jsonl").is_file()


def test_a_run_that_was_stopped_early_says_so_in_eval_and_report(focus, run, crops):
    def stop(state):
        state["config"]["train"]["epochs"] = 12

    change_state(run, stop)
    assert "! this run was stopped early or is still running: 10 of 12 epochs" in focus("eval", "-c", run).stderr
    assert focus("report", run, "-q").code == 0
    assert "10 of 12 epochs" in (run / "report.html").read_text(encoding="utf-8")
    assert "10 of 12 epochs" in focus("predict", crops / "000.png", "-c", run).stderr


def test_a_dataset_that_is_gone_or_has_changed_is_refused_unless_named(focus, refused, run, coloured_dataset, tmp_path):
    changed = changed_dataset(coloured_dataset, tmp_path / "changed", "labels.csv", ",test,", ",val,")
    for folder, words in ((tmp_path / "unplugged", "is gone"), (changed, read_folder(changed).fingerprint[:12])):
        change_state(run, lambda state, folder=folder: state["data"].update(folder=str(folder)))
        outcome = refused(3, f"coloured in {folder}", "report", run)
        assert words in outcome.stderr
        assert f"focus report {run} --dataset" in outcome.stderr
    assert focus("report", run, "--dataset", changed).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "not the data that the run was trained on" in page
    assert "not the data that the model was trained on" in page
