"""`focus report`: what it writes, and what it says where it cannot."""

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


def test_the_page_goes_into_the_run_folder(focus, run):
    outcome = focus("report", run, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["report"] == str(run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert outcome.json["bytes"] == len(page.encode()) < 3_000_000
    figure = outcome.json["figures"]["mine"]["mA"]
    assert f"{100 * figure:.2f}" in page
    assert outcome.json["weights"] == {"mine": "from scratch"}
    assert outcome.json["threshold_source"]["mine"].startswith("val: per attribute")
    assert focus("eval", "-c", run, "--json").json["metrics"]["mA"] == figure
    assert "wrote" in focus("report", run, "--force").stderr


def test_nothing_is_replaced_without_force(focus, run, tmp_path):
    target = tmp_path / "page.html"
    target.write_text("mine")
    outcome = focus("report", run, "-o", target)
    assert outcome.code == 3
    assert "--force" in outcome.stderr
    assert target.read_text() == "mine"
    assert focus("report", run, "-o", target, "--force", "--no-crops").code == 0
    assert "data:image" not in target.read_text(encoding="utf-8")


def test_several_runs_make_a_comparison(focus, run, tmp_path, monkeypatch):
    other = tmp_path / "runs" / "other"
    shutil.copytree(run, other)
    monkeypatch.chdir(tmp_path)
    outcome = focus("report", run, other, "--errors", "0", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["report"] == "report.html"
    assert [*outcome.json["figures"]] == ["mine", "other"]
    assert "2 runs compared" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nothing"], 3, "nothing"),
        (["{run}", "{run}"], 2, "twice"),
        (["{run}", "-o", "page.pdf"], 2, "page.pdf"),
        (["{run}", "--split", "west"], 3, "west"),
        (["{run}", "-d", "nowhere"], 3, "nowhere"),
        (["{run}/checkpoints/best/model.safetensors"], 3, "No checkpoint"),
    ],
)
def test_it_refuses(focus, run, arguments, code, word):
    outcome = focus("report", *(argument.replace("{run}", str(run)) for argument in arguments))
    assert outcome.code == code, outcome.stderr
    assert word in outcome.stderr
    assert not (run / "report.html").exists()


def test_no_run_at_all(focus):
    outcome = focus("report")
    assert outcome.code == 4
    assert "No trained model" in outcome.stderr


def test_a_run_without_metrics_says_how_to_get_them(focus, run):
    (run / "metrics.jsonl").unlink()
    outcome = focus("report", run)
    assert outcome.code == 3
    assert f"{run} has no metrics.jsonl" in outcome.stderr
    assert f"focus train --resume --run {run}" in outcome.stderr
    # The way out that it names is one.
    assert focus("train", "--resume", "--run", run).code == 0
    assert focus("report", run).code == 0


def test_a_run_that_was_never_evaluated(focus, run):
    shutil.rmtree(run / "checkpoints" / "best")
    state = run / "checkpoints" / "last" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "thresholds": {}}))
    outcome = focus("report", run)
    assert outcome.code == 3
    assert "has no thresholds yet" in outcome.stderr
    assert "focus train --resume" in outcome.stderr


def test_a_checkpoint_without_its_run(focus, run, tmp_path):
    shutil.copytree(run / "checkpoints" / "best", tmp_path / "alone")
    outcome = focus("report", tmp_path / "alone")
    assert outcome.code == 3
    assert "outside of a run folder" in outcome.stderr


def moved(run, folder):
    """Make a run believe that its data set lies elsewhere."""
    for state in run.glob("checkpoints/*/state.json"):
        content = json.loads(state.read_text())
        content["data"]["folder"] = str(folder)
        state.write_text(json.dumps(content))


def test_a_dataset_that_is_gone_can_be_named(focus, run, coloured_dataset, tmp_path):
    moved(run, tmp_path / "unplugged")
    outcome = focus("report", run)
    assert outcome.code == 3
    assert f"coloured was in {tmp_path / 'unplugged'}" in outcome.stderr
    assert f"focus report {run} --dataset" in outcome.stderr
    assert focus("report", run, "--dataset", coloured_dataset).code == 0


def test_a_dataset_that_has_changed_is_refused_unless_named(focus, run, coloured_dataset, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(coloured_dataset, changed)
    labels = (changed / "labels.csv").read_text().splitlines()
    labels[-1] = labels[-1].replace(",test,", ",val,")
    (changed / "labels.csv").write_text("\n".join(labels) + "\n")
    moved(run, changed)
    outcome = focus("report", run)
    assert outcome.code == 3
    assert "has changed since" in outcome.stderr
    assert read_folder(changed).fingerprint[:12] in outcome.stderr
    assert f"focus report {run} --dataset {changed}" in outcome.stderr
    assert focus("report", run, "--dataset", changed).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "not the data that the run was trained on" in page
    assert "not the data that the model was trained on" in page


def test_a_dataset_with_other_attributes_is_refused(focus, run, coloured_dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(coloured_dataset, other)
    for file in ("schema.toml", "labels.csv"):
        path = other / file
        path.write_text(path.read_text().replace("RedHat", "RedCap").replace('"red hat"', '"red cap"'))
    outcome = focus("report", run, "-d", other)
    assert outcome.code == 3
    assert "closed-set" in outcome.stderr


def test_an_image_that_is_gone_is_named(focus, run, coloured_dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(coloured_dataset, other)
    schema = other / "schema.toml"
    schema.write_text(schema.read_text().replace(str(read_folder(coloured_dataset).root), str(tmp_path / "empty")))
    outcome = focus("report", run, "-d", other)
    assert outcome.code == 3
    assert "No such image" in outcome.stderr
