"""`focus index` and `focus search`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.gallery.manifest import read_manifest


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, coloured_dataset, trained_run):
    """The coloured dataset's test images, indexed with a model that has learnt them; read only."""
    from typer.testing import CliRunner

    from focuscli.cli import commands  # noqa: F401
    from focuscli.cli.app import app

    folder = tmp_path_factory.mktemp("galleries") / "coloured"
    arguments = ["index", str(coloured_dataset), "-o", str(folder), "-c", str(trained_run), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--split", "test", "--shard", "6"])
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def copied(gallery, tmp_path):
    return shutil.copytree(gallery, tmp_path / "gallery")


@pytest.fixture
def places(gallery, coloured_dataset):
    """What stands for folders in parameters."""
    return {"GALLERY": gallery, "DATASET": coloured_dataset}


@pytest.fixture
def scores(focus, coloured_dataset, trained_run):
    """A function: `focus predict`'s scores of the same images for a text, by image name."""

    def predict(text):
        dataset = read_folder(coloured_dataset)
        paths = "\n".join(str(dataset.image_path(index)) for index in dataset.select("test"))
        outcome = focus("predict", "-", "-a", text, "-c", trained_run, "--format", "jsonl", stdin=paths)
        assert outcome.code == 0, outcome.stderr
        rows = [json.loads(line) for line in outcome.stdout.splitlines()]
        return {row["image"].rsplit("/", 1)[1]: row["scores"][text] for row in rows}

    return predict


def lines(outcome):
    assert outcome.code == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_the_ranking_is_that_of_predict(focus, gallery, scores):
    expected = scores("red hat")
    for mode in ("--exact", "--two-stage"):
        found = lines(focus("search", gallery, "red hat", "-k", 16, mode, "--format", "jsonl"))
        assert [row["rank"] for row in found] == [*range(1, 17)]
        got = {row["image"].rsplit("/", 1)[1]: row["scores"]["red hat"] for row in found}
        assert got == pytest.approx(expected, abs=0.02)  # features in half precision
        values = [row["scores"]["red hat"] for row in found]
        assert values == sorted(values, reverse=True)
    assert found[0]["match"] > 0.5 > found[-1]["match"]
    assert found[0]["unseen"] == []


def test_wanted_and_unwanted_texts_are_combined(focus, gallery, scores):
    """Red hats without bright trousers: the order of the product of probabilities."""
    found = lines(focus("search", gallery, "red hat", "--not", "bright trousers", "-k", 16, "--json"))
    hat, bright = scores("red hat"), scores("bright trousers")

    def probability(score, threshold):
        return 1 / (1 + math.exp(threshold - score))

    for row in found:
        name = row["image"].rsplit("/", 1)[1]
        wanted = probability(hat[name], row["thresholds"]["red hat"])
        unwanted = probability(bright[name], row["thresholds"]["bright trousers"])
        assert row["match"] == pytest.approx(wanted * (1 - unwanted), abs=0.02)
        assert (row["query"], row["not"]) == (["red hat"], ["bright trousers"])
    assert [row["match"] for row in found] == sorted((row["match"] for row in found), reverse=True)


def test_each_text_by_itself_in_one_pass(focus, gallery):
    together = lines(focus("search", gallery, "red hat", "dark trousers", "--each", "-k", 3, "--json"))
    apart = [
        row for text in ("red hat", "dark trousers") for row in lines(focus("search", gallery, text, "-k", 3, "--json"))
    ]
    assert together == apart


def test_formats_say_the_same(focus, gallery, tmp_path):
    arguments = ("search", gallery, "red hat", "--not", "green scarf", "-k", 4)
    found = lines(focus(*arguments, "--format", "jsonl"))
    table = focus(*arguments).stdout
    outcome = focus(*arguments, "--format", "csv", "-o", tmp_path / "hits.csv")
    assert outcome.code == 0
    assert outcome.stdout == ""
    rows = [*csv.DictReader(io.StringIO((tmp_path / "hits.csv").read_text()))]
    assert [row["image"] for row in rows] == [row["image"] for row in found]
    assert [float(row["red hat"]) for row in rows] == [round(row["scores"]["red hat"], 2) for row in found]
    assert all(row["image"] in table for row in rows)
    assert "not green scarf" in table


def test_a_sheet_is_drawn(focus, gallery, tmp_path):
    outcome = focus("search", gallery, "red hat", "green scarf", "--each", "-k", 5, "--sheet", tmp_path / "hits.png")
    assert outcome.code == 0, outcome.stderr
    with Image.open(tmp_path / "hits.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 600
    again = focus("search", gallery, "red hat", "--sheet", tmp_path / "hits.png")
    assert (again.code, "--force" in again.stderr) == (3, True)


def test_recall_is_reported(focus, gallery):
    outcome = focus("search", gallery, "red hat", "--two-stage", "--check-recall", "-k", 5)
    assert "two stages find 100.0% of the exact 5" in outcome.stderr


def test_fewer_crops_than_asked_for_are_all_shown(focus, gallery):
    outcome = focus("search", gallery, "red hat", "-k", 100, "--json")
    assert len(lines(outcome)) == 16
    assert "holds 16 crops, fewer than the 100 asked for" in outcome.stderr


def test_a_gallery_of_another_checkpoint_is_refused(focus, gallery, trained_run):
    outcome = focus("search", gallery, "red hat", "-c", trained_run / "checkpoints" / "last")
    if (trained_run / "checkpoints" / "best" / "state.json").read_text() == (
        trained_run / "checkpoints" / "last" / "state.json"
    ).read_text():
        pytest.skip("best is last")
    assert outcome.code == 3
    assert "another checkpoint" in outcome.stderr
    assert "step" in outcome.stderr


def test_a_model_that_is_gone_is_named(focus, copied):
    file = copied / "gallery.json"
    file.write_text(file.read_text().replace("checkpoints/best", "checkpoints/gone"))
    outcome = focus("search", copied, "red hat")
    assert outcome.code == 3
    assert "checkpoints/gone" in outcome.stderr
    assert "-c RUN" in outcome.stderr


def test_a_truncated_shard_is_named_and_repaired(focus, copied, coloured_dataset, trained_run):
    before = lines(focus("search", copied, "red hat", "--json", "-c", trained_run))
    file = sorted(copied.glob("*.tokens.npy"))[1]
    file.write_bytes(file.read_bytes()[:-9])
    outcome = focus("search", copied, "red hat")
    assert outcome.code == 3
    assert file.name in outcome.stderr
    assert "--resume" in outcome.stderr
    arguments = ("index", coloured_dataset, "--split", "test", "-o", copied, "-c", trained_run, "--device", "cpu")
    repaired = focus(*arguments, "--resume", "--shard", 6)
    assert repaired.code == 0
    assert "encoded again" in repaired.stderr
    assert lines(focus("search", copied, "red hat", "--json", "-c", trained_run)) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", "GALLERY", " "], 2, "Text 1 is empty"),
        (["search", "GALLERY", "hat", "--not", ""], 2, "Text 2 is empty"),
        (["search", "GALLERY", "red hat", "--not", "RedHat"], 2, "both wanted and not wanted"),
        (["search", "GALLERY", "hat", "--format", "xml"], 2, "xml"),
        (["search", "GALLERY", "hat", "--sheet", "hits.jpg"], 2, ".png"),
        (["search", "GALLERY", "hat", "--sheet", "hits.png", "-k", "500"], 2, "at most 400"),
        (["search", "GALLERY", "hat", "--region", "tail"], 2, "tail"),
        (["search", "nowhere", "hat"], 3, "no gallery"),
        (["index", "GALLERY", "-o", "GALLERY"], 3, "No image"),
        (["index", "nowhere/crops", "-o", "g"], 3, "No such image"),
        (["index", "DATASET", "-o", "GALLERY"], 3, "exists already"),
        (["index", "DATASET", "--split", "nosuch", "-o", "g"], 3, "nosuch"),
    ],
)
def test_bad_input_gives_one_message(
    focus, gallery, coloured_dataset, trained_run, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    places = {"GALLERY": gallery, "DATASET": coloured_dataset}
    outcome = focus(*[places.get(argument, argument) for argument in arguments], "-c", trained_run)
    assert outcome.code == code, outcome.stderr
    assert words in outcome.stderr
    assert outcome.stdout == ""
    assert not [*tmp_path.iterdir()]


def test_a_dry_run_writes_nothing(focus, coloured_dataset, trained_run, tmp_path):
    outcome = focus("index", coloured_dataset, "-o", tmp_path / "g", "-c", trained_run, "--dry-run", "--json")
    assert outcome.code == 0, outcome.stderr
    assert (outcome.json["encoded"], outcome.json["shards"], outcome.json["dry_run"]) == (72, 1, True)
    assert not (tmp_path / "g").exists()


def test_clip_as_it_is_can_be_searched(focus, weights, coloured_dataset, tmp_path):
    images = coloured_dataset.parent / "images"
    assert focus("index", images, "-o", tmp_path / "g", "-c", "clip", "--device", "cpu").code == 0
    found = lines(focus("search", tmp_path / "g", "hat", "--not", "boots", "-k", 3, "--json"))
    assert [row["match"] for row in found] == [None] * 3
    assert [row["scores"]["hat"] - row["scores"]["boots"] for row in found] == sorted(
        (row["scores"]["hat"] - row["scores"]["boots"] for row in found), reverse=True
    )
    assert "--exact" in focus("search", tmp_path / "g", "hat", "--two-stage").stderr


def test_unreadable_images_are_named_and_left_out(focus, trained_run, coloured_dataset, tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    shutil.copy(coloured_dataset.parent / "images" / "000.png", folder / "good.png")
    (folder / "bad.png").write_bytes(b"no")
    outcome = focus("index", folder, "-o", tmp_path / "g", "-c", trained_run, "--device", "cpu", "--json")
    assert outcome.code == 0
    assert (outcome.json["crops"], outcome.json["skipped"]) == (1, 1)
    assert "bad.png" in outcome.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_run_that_is_really_killed_is_resumed(focus, coloured_dataset, trained_run, gallery, tmp_path):
    """SIGKILL as soon as the first shard is there: nothing of Python's own clean-up runs."""
    target = tmp_path / "g"
    arguments = ["index", str(coloured_dataset), "--split", "test", "-o", str(target), "-c", str(trained_run)]
    arguments += ["--device", "cpu", "--shard", "6", "--batch", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "focuscli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    while process.poll() is None and not [*target.glob("0*.json")]:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    outcome = focus(*arguments, "--resume")
    assert outcome.code == 0, outcome.stderr
    assert {file.name for file in target.iterdir()} == read_manifest(target).files
    assert read_manifest(target).shards == read_manifest(gallery).shards
    found, whole = (lines(focus("search", place, "red hat", "-k", 16, "--json")) for place in (target, gallery))
    assert [row["image"] for row in found] == [row["image"] for row in whole]
