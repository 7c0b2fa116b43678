"""`focus eval`, `predict` and `viz` on a small trained run."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.evaluation.closed_set import evaluate
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import pedestrian_metrics


@pytest.fixture(scope="module")
def recognizer(trained_run):
    return Recognizer.from_checkpoint(trained_run, device="cpu")


@pytest.fixture
def crops(coloured_dataset):
    return read_folder(coloured_dataset).root


def test_eval_equals_the_metrics_of_its_own_scores(focus, trained_run, coloured_dataset, recognizer):
    outcome = focus("eval", "-c", trained_run, "--json")
    assert outcome.code == 0, outcome.stderr
    report = outcome.json
    folder = read_folder(coloured_dataset)
    test = folder.select("test")
    scores = recognizer.scores([folder.image_path(i) for i in test])
    thresholds = [recognizer.thresholds[name] for name in ("RedHat", "Bright", "Dark")]
    expected = pedestrian_metrics(folder.labels[test, :3], scores > thresholds)
    for name, value in expected.items():
        assert report["metrics"][name] == pytest.approx(value, abs=1e-9)
    assert report["metrics"]["mA"] > 0.85
    assert report["weights"] == "from scratch"
    assert report["threshold_source"].startswith("val: per attribute")
    assert report["images"] == 16


@pytest.mark.parametrize("threshold", ["val", "global", "oracle"])
def test_the_source_of_the_threshold_is_in_every_output(focus, trained_run, threshold):
    outcome = focus("eval", "-c", trained_run, "--threshold", threshold, "--per-attribute")
    assert outcome.code == 0
    assert f"thresholds  {threshold}" in outcome.stdout
    assert "from scratch" in outcome.stdout
    assert "RedHat" in outcome.stdout
    assert ("optimistic" in outcome.stdout) is (threshold == "oracle")
    saved = json.loads((trained_run / "eval" / f"coloured-test-{threshold}-best.json").read_text())
    assert saved["threshold_source"].startswith(threshold)


def test_oracle_is_never_below_val(trained_run, coloured_dataset, recognizer):
    folder = read_folder(coloured_dataset)
    figures = [evaluate(recognizer, folder, "test", threshold=mode).metrics["mA"] for mode in ("val", "oracle")]
    assert figures[0] <= figures[1]


def test_unseen_persons_are_reported_apart(recognizer, coloured_dataset, tmp_path):
    folder = read_folder(coloured_dataset)
    persons = folder.persons.copy()
    persons[folder.select("test")[:6]] = persons[0]
    shared = type(folder)(
        folder.path, folder.schema, folder.images, folder.splits, persons, folder.labels, folder.fingerprint
    )
    report = evaluate(recognizer, shared, "test")
    assert report.unseen_persons["images"] == 10
    assert report.identity == {"shared": 1, "persons": 6, "images": 6}
    alone = evaluate(recognizer, folder, "test")
    assert alone.unseen_persons is None
    assert alone.identity == {"shared": 0, "persons": 8, "images": 0}
    # Of a split that was trained on, or of other data, the overlap says nothing.
    assert evaluate(recognizer, folder, "val").identity is None
    other = replace(shared, fingerprint="0" * 64)
    assert evaluate(recognizer, other, "test").identity is None


def test_the_identity_overlap_is_shown(focus, trained_run):
    outcome = focus("eval", "-c", trained_run)
    assert "persons     0 of 8 in this split are also in train or val, with 0 of 16 images" in outcome.stdout
    assert focus("eval", "-c", trained_run, "--json").json["identity"] == {"shared": 0, "persons": 8, "images": 0}


def test_require_fails_with_5(focus, trained_run):
    assert focus("eval", "-c", trained_run, "--require", "mA>=10").code == 0
    outcome = focus("eval", "-c", trained_run, "--require", "mA>=100.1")
    assert outcome.code == 5
    assert "not at least 100.1" in outcome.stderr
    assert focus("eval", "-c", trained_run, "--require", "beauty>=3").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [(["--split", "west"], 3, "west"), (["--threshold", "best"], 2, "oracle"), (["-c", "nothing"], 3, "nothing")],
)
def test_eval_refuses(focus, trained_run, arguments, code, word):
    outcome = focus("eval", "-c", trained_run, *arguments)
    assert outcome.code == code
    assert word in outcome.stderr


def test_a_dataset_with_other_attributes_is_refused(focus, trained_run, coloured_dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(coloured_dataset, other)
    schema = other / "schema.toml"
    schema.write_text(
        schema.read_text().replace('phrase = "red hat"', 'phrase = "red cap"').replace("RedHat", "RedCap")
    )
    labels = other / "labels.csv"
    labels.write_text(labels.read_text().replace("RedHat", "RedCap"))
    outcome = focus("eval", "-c", trained_run, "-d", other)
    assert outcome.code == 3
    assert "RedCap" in outcome.stderr
    assert "closed-set" in outcome.stderr


def test_predict_as_json_lines_skips_what_it_cannot_read(focus, trained_run, crops, tmp_path):
    shutil.copy(crops / "000.png", tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes((crops / "001.png").read_bytes()[:60])
    (tmp_path / "c.png").write_text("no picture")
    outcome = focus("predict", tmp_path, "-c", trained_run, "-a", "red hat", "-a", "green scarf", "--format", "jsonl")
    assert outcome.code == 0, outcome.stderr
    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert len(lines) == 1
    (line,) = lines
    assert set(line["scores"]) == {"red hat", "green scarf"}
    assert line["unseen"] == ["green scarf"]
    assert line["threshold_source"] == {"red hat": "val", "green scarf": "mean of head"}
    assert line["weights"] == "from scratch"
    assert ("red hat" in line["present"]) is (line["scores"]["red hat"] > line["thresholds"]["red hat"])
    assert "skipped 2 unreadable of 3 images" in outcome.stderr
    assert "b.jpg" in outcome.stderr
    assert focus("predict", tmp_path, "-c", trained_run, "--strict").code == 3


def test_predict_is_right_about_what_it_learnt(focus, trained_run, coloured_dataset, crops):
    folder = read_folder(coloured_dataset)
    test = folder.select("test")
    outcome = focus("predict", *(folder.image_path(i) for i in test), "-c", trained_run, "--format", "jsonl")
    hits = [
        ("red hat" in json.loads(line)["present"]) == bool(folder.labels[index, 0])
        for index, line in zip(test, outcome.stdout.splitlines(), strict=True)
    ]
    assert np.mean(hits) > 0.8


def test_what_is_assumed_about_unseen_texts_is_said_where_there_are_any(focus, trained_run, crops):
    image = sorted(crops.glob("*.png"))[0]
    trained = focus("predict", image, "-c", trained_run)
    unseen = focus("predict", image, "-c", trained_run, "-a", "red hat", "-a", "purple gloves")
    assert trained.code == unseen.code == 0, unseen.stderr
    assert "was not trained" not in trained.stderr
    assert "unseen texts mean little" not in trained.stderr
    assert '"purple gloves" was not trained' in unseen.stderr
    assert "unseen texts mean little" in unseen.stderr


def test_a_text_given_twice_is_one_text(focus, trained_run, crops):
    outcome = focus(
        "predict", crops / "000.png", "-c", trained_run, "-a", "Green scarf", "-a", "green  SCARF", "--format", "csv"
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.splitlines()[0] == "image,Green scarf"
    assert 'same text as an earlier one, used once: "green  SCARF"' in outcome.stderr


def test_predict_as_csv_table_and_from_stdin(focus, trained_run, crops, tmp_path):
    names = [str(crops / "000.png"), str(crops / "001.png")]
    outcome = focus("predict", "-", "-c", trained_run, "--format", "csv", stdin="\n".join(names) + "\n")
    rows = [*csv.reader(io.StringIO(outcome.stdout))]
    assert rows[0] == ["image", "red hat", "bright trousers", "dark trousers"]
    assert [row[0] for row in rows[1:]] == names
    table = focus("predict", crops / "00*.png", "-c", trained_run, "-a", "red hat")
    assert table.code == 0
    assert table.stdout.count("red hat") == 10
    target = tmp_path / "out.csv"
    written = focus("predict", names[0], "-c", trained_run, "--format", "csv", "-o", target)
    assert written.stdout == ""
    assert target.read_text().splitlines()[0].startswith("image,red hat")


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no UTF-8")
@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_a_file_name_that_is_no_utf8_comes_out_as_it_is(focus, trained_run, crops, tmp_path, format_):
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(crops / "000.png", name)
    arguments = ("-c", trained_run, "-a", "red hat", "--format", format_)
    for source, stdin in ((tmp_path, None), ("-", name + b"\n")):
        outcome = focus("predict", source, *arguments, stdin=stdin)
        assert outcome.code == 0, outcome.stderr
        if format_ == "jsonl":
            assert os.fsencode(outcome.json["image"]) == name
        else:
            assert name in outcome.raw
    written = focus("predict", tmp_path, *arguments, "-o", tmp_path / "out")
    assert written.code == 0, written.stderr
    assert (tmp_path / "out").read_bytes() == outcome.raw


@pytest.mark.parametrize("batch", [1, 3])
def test_batching_does_not_change_scores(recognizer, crops, batch):
    images = [crops / f"{number:03}.png" for number in range(5)]
    assert np.abs(recognizer.scores(images, batch_size=batch) - recognizer.scores(images, batch_size=5)).max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["-a", " "], 2, "empty"),
        (["-a", "a man who " + "walks " * 90], 2, "tokens; CLIP reads 77"),
        (["-a", "scarf", "--region", "tail"], 2, "tail"),
        (["-a", "red hat", "--region", "tail"], 2, "tail"),
        (["--region", "head"], 2, "--region head needs a text"),
        (["--format", "xml"], 2, "jsonl"),
    ],
)
def test_predict_refuses(focus, trained_run, crops, arguments, code, word):
    outcome = focus("predict", crops / "000.png", "-c", trained_run, *arguments)
    assert outcome.code == code
    assert word in outcome.stderr
    assert outcome.stdout == ""


def test_viz_draws_a_grid_of_images_and_texts(focus, trained_run, crops, tmp_path):
    target = tmp_path / "grid.png"
    names = [crops / "000.png", crops / "001.png"]
    outcome = focus("viz", *names, "red hat", "green scarf", "-c", trained_run, "-o", target, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["picture"] == str(target)
    assert outcome.json["unseen"] == ["green scarf"]
    with Image.open(target) as picture:
        assert picture.format == "PNG"
        two = picture.size
    again = focus("viz", *names, "red hat", "-c", trained_run, "-o", target)
    assert again.code == 3
    assert "--force" in again.stderr
    assert focus("viz", names[0], "red hat", "-c", trained_run, "-o", target, "--force").code == 0
    with Image.open(target) as picture:
        assert picture.size[0] < two[0]
        assert picture.size[1] < two[1]


def test_viz_tokens(focus, trained_run, crops, tmp_path):
    target = tmp_path / "tokens.png"
    assert focus("viz", crops / "000.png", "red hat", "--tokens", "-c", trained_run, "-o", target).code == 0
    assert target.exists()
    assert focus("viz", crops / "000.png", crops / "001.png", "--tokens", "-c", trained_run, "-o", target).code == 2


def test_viz_tells_a_missing_image_from_a_text(focus, trained_run, crops):
    outcome = focus("viz", crops / "00.png", "red hat", "-c", trained_run)
    assert outcome.code == 3
    assert "Did you mean" in outcome.stderr
    assert "focus viz IMAGE -a" in outcome.stderr
    assert focus("viz", "red hat", "-c", trained_run).code == 2


def test_viz_refuses_more_layers_than_there_are(focus, trained_run, crops, tmp_path):
    outcome = focus("viz", crops / "000.png", "red hat", "--layers", "9", "-c", trained_run, "-o", tmp_path / "x.png")
    assert outcome.code == 2
    assert "4 layers" in outcome.stderr
    assert not (tmp_path / "x.png").exists()


def test_no_run_at_all(focus, crops):
    for command in (["eval"], ["predict", crops / "000.png"], ["viz", crops / "000.png", "hat"]):
        outcome = focus(*command)
        assert outcome.code == 4
        assert "focus train" in outcome.stderr


def test_a_damaged_checkpoint_is_refused(focus, trained_run, crops, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(trained_run / "checkpoints" / "best", broken)
    tensors = next(broken.glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:10_000])
    outcome = focus("predict", crops / "000.png", "-c", broken)
    assert outcome.code == 3
    assert "damaged" in outcome.stderr


def test_a_missed_mark_as_json_is_one_object_with_the_figures(focus, trained_run):
    outcome = focus("eval", "-c", trained_run, "--require", "mA>=100.1", "--json")
    assert outcome.code == 5
    assert outcome.json["error"]["code"] == 5
    assert outcome.json["metrics"]["mA"] > 0


def test_predict_replaces_no_file_unasked_and_fails_without_a_readable_image(focus, trained_run, crops, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("mine")
    arguments = ("predict", crops / "000.png", "-c", trained_run, "--format", "csv", "-o", target)
    assert focus(*arguments).code == 3
    assert target.read_text() == "mine"
    assert focus(*arguments, "--force").code == 0
    (tmp_path / "broken.png").write_text("no picture")
    assert focus("predict", tmp_path / "broken.png", "-c", trained_run).code == 3


def test_viz_refuses_an_empty_text_and_takes_a_folder_name_for_a_text(focus, trained_run, crops, tmp_path, monkeypatch):
    assert focus("viz", crops / "000.png", "", "-c", trained_run, "-o", tmp_path / "x.png").code == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hat").mkdir()
    outcome = focus("viz", crops / "000.png", "hat", "-c", trained_run, "-o", tmp_path / "x.png", "--json")
    assert outcome.code == 0
    assert list(outcome.json["thresholds"]) == ["hat"]
    assert outcome.json["weights"] == "from scratch"
