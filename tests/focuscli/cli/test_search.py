"""`focus index` and `focus search`."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shlex
import shutil
import signal
import sys

import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.engine.distributed import WorkerLost
from focuscli.tools.gallery.store import read_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, coloured_dataset, trained_run, command):
    """The coloured dataset's test images, indexed with a model that has learnt them; read only."""
    folder = tmp_path_factory.mktemp("galleries") / "coloured"
    arguments = ("index", coloured_dataset, "-o", folder, "-c", trained_run, "--device", "cpu", "--split", "test")
    command(*arguments, "--part-size", 6, "--group", "person")
    return folder


def lines(outcome):
    assert outcome.code == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


@pytest.mark.parametrize("text", ["red hat", "green scarf"])
def test_the_ranking_is_that_of_predict(focus, gallery, coloured_dataset, trained_run, text):
    dataset = read_folder(coloured_dataset)
    paths = "\n".join(str(dataset.image_path(index)) for index in dataset.select("test"))
    rows = lines(focus("predict", "-", "-a", text, "-c", trained_run, "--format", "jsonl", stdin=paths))
    expected = {row["image"].rsplit("/", 1)[1]: row["scores"][text] for row in rows}
    for mode in ("--exact", "--fast"):
        outcome = focus("search", gallery, text, "-k", 100, mode, "--format", "jsonl")
        assert "holds 16 crops, fewer than 100" in outcome.stderr
        found = lines(outcome)
        assert [row["rank"] for row in found] == [*range(1, 17)]
        got = {row["image"].rsplit("/", 1)[1]: row["scores"][text] for row in found}
        assert got == pytest.approx(expected, abs=0.02)  # features in half precision
        for values in ([row["scores"][text] for row in found], [row["match"] for row in found]):
            assert values == sorted(values, reverse=True)
    assert found[0]["unseen"] == ([] if text == "red hat" else [text])


def test_recall_is_where_the_results_are_read(focus, gallery, tmp_path):
    arguments = ("search", gallery, "green scarf", "--recall", "-k", 5, "-q")
    said = "--fast finds 100.0% of the exact 5"
    assert focus(*arguments, "--fast").stdout.splitlines()[-1] == said
    assert [row["recall"] for row in lines(focus(*arguments, "--format", "jsonl"))] == [1.0] * 5
    for format_ in ("csv", "table"):
        outcome = focus(*arguments, "--format", format_, "-o", tmp_path / format_)
        assert f"! {said}" in outcome.stderr
        assert (outcome.stdout, said in (tmp_path / format_).read_text()) == ("", False)


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not UTF-8")
def test_a_file_name_that_is_not_utf8_comes_out_as_it_is(focus, trained_run, coloured_dataset, tmp_path):
    name = os.fsencode(tmp_path) + b"/crops/caf\xe9.png"
    (tmp_path / "crops").mkdir()
    shutil.copy(coloured_dataset.parent / "images" / "000.png", name)
    (tmp_path / "crops" / os.fsdecode(b"b\xe9.png")).write_bytes(b"no image")
    place = tmp_path / "g"
    arguments = ("index", tmp_path / "crops", "-o", place, "-c", trained_run, "--device", "cpu", "--json")
    indexed = focus(*arguments, "--group", "(.)[.]png")
    assert (indexed.code, indexed.json["skipped"]) == (0, 1), indexed.stderr
    again = focus(*arguments, "--resume")
    assert (again.code, again.json["stored"], again.json["changed"]) == (0, 1, 0), again.stderr
    for format_ in ("table", "jsonl", "csv"):
        arguments = ("search", place, "red hat", "-k", 1, "--format", format_)
        outcome, written = focus(*arguments), focus(*arguments, "-o", tmp_path / format_)
        assert (outcome.code, written.code) == (0, 0), outcome.stderr + written.stderr
        for content in (outcome.raw, (tmp_path / format_).read_bytes()):
            assert name in (os.fsencode(json.loads(content)["image"]) if format_ == "jsonl" else content)
    found = focus("search", place, "red hat", "--where", "path LIKE 'caf_.png'", "--json").json["results"]
    assert [row["rank"] for row in found] == [1]
    assert focus("search", place, "red hat", "-k", 1, "--sheet", tmp_path / "hits.png").code == 0


def test_the_model_has_to_be_the_gallerys_own(focus, refused, gallery, trained_run, tmp_path):
    moved = shutil.copytree(trained_run / "checkpoints" / "best", tmp_path / "moved")
    assert focus("search", gallery, "green scarf", "-k", 1, "--json", "-c", moved).json["results"]
    state = moved / "state.json"
    state.write_text(state.read_text().replace('"complements": true', '"complements": false'))
    refused(3, "another checkpoint", "search", gallery, "red hat", "-c", moved)
    copied = shutil.copytree(gallery, tmp_path / "gallery")
    file = copied / "gallery.json"
    file.write_text(file.read_text().replace("checkpoints/best", "checkpoints/gone"))
    assert "-c RUN" in refused(3, "checkpoints/gone", "search", copied, "red hat").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", "GALLERY", " "], 2, "A text is empty"),
        (["search", "GALLERY", "hat", "--not", ""], 2, "A text is empty"),
        (["search", "GALLERY", "red hat", "--not", "RedHat"], 2, "both wanted and not wanted"),
        (["search", "GALLERY", "hat", "--format", "xml"], 2, "xml"),
        (["search", "GALLERY", "hat", "--sheet", "hits.jpg"], 2, ".png"),
        (["search", "GALLERY", *map(str, range(26)), "--each", "--sheet", "hits.png"], 2, "416 crops are too many"),
        (["search", "GALLERY", "hat", "-o", "hits.png", "--sheet", "./hits.png"], 2, "both name hits.png"),
        (["search", "GALLERY", "hat", "--region", "tail"], 2, "tail"),
        (["search", "GALLERY", "red hat", "--device", "tpu"], 2, "tpu"),
        (["search", "nowhere", "hat"], 3, "Not a gallery"),
        (["index", "GALLERY", "-o", "GALLERY"], 3, "No image"),
        (["index", "nowhere/crops", "-o", "g"], 3, "No such image"),
        (["index", "DATASET", "--split", "nosuch", "-o", "g"], 3, "nosuch"),
        (["index", "DATASET", "--group", "persn", "-o", "g"], 2, "Did you mean person?"),
    ],
)
def test_bad_input_gives_one_message(
    refused, gallery, coloured_dataset, trained_run, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    places = {"GALLERY": gallery, "DATASET": coloured_dataset}
    refused(code, words, *[places.get(argument, argument) for argument in arguments], "-c", trained_run)
    assert not [*tmp_path.iterdir()]


def test_zero_shot_clip_can_be_searched(focus, weights, crops, tmp_path):
    assert focus("index", crops, "-o", tmp_path / "g", "-c", "clip", "--device", "cpu").code == 0
    found = focus("search", tmp_path / "g", "hat", "--not", "torn boots", "-k", 3, "--json").json["results"]
    assert [row["match"] for row in found] == [None] * 3
    differences = [row["scores"]["hat"] - row["scores"]["torn boots"] for row in found]
    assert differences == sorted(differences, reverse=True)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (WorkerLost("Worker 1 is lost."), 4)])
def test_the_command_that_goes_on_can_be_followed_to_the_letter(
    focus, coloured_dataset, trained_run, gallery, tmp_path, monkeypatch, stop, code
):
    def run(*_, **__):
        raise stop

    monkeypatch.setenv("FOCUS_RUNS", str(trained_run.parent))
    target = tmp_path / "a b"
    arguments = ("index", coloured_dataset, "--split", "test", "-o", target, "--part-size", 6, "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("focuscli.tools.gallery.index.run_index", run)
        outcome = focus(*arguments, "--batch", 8, "--group", "person")
        listed = focus("index", "-", "-o", target, "-c", trained_run, stdin=f"{coloured_dataset.parent}/images/000.png")
    assert (outcome.code, listed.code) == (code, code)
    assert "Go on with the same paths on stdin with: focus index - -o" in listed.stderr
    hint = outcome.stderr.partition("Go on with: ")[2]
    monkeypatch.setenv("FOCUS_RUNS", str(tmp_path / "others"))  # the latest run is another one by now
    command, *again = shlex.split(hint)
    assert (command, again[-1]) == ("focus", "--resume")
    assert {"--batch", "--device", "--group"} < set(again)
    assert focus(*again).code == 0
    assert {file.name for file in target.iterdir()} == {file.name for file in gallery.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_25_times_no_crop_is_lost_or_doubled(workers, coloured_dataset, trained_run, tmp_path):
    """SIGKILL whenever another file is there; nothing of Python's own clean-up runs."""
    target, images = tmp_path / "g", coloured_dataset.parent / "images"
    arguments = ["index", str(images), "-o", str(target), "-c", str(trained_run), "--device", "cpu", "--resume"]
    arguments += ["--part-size", "1", "--batch", "1"]
    generator, killed, stored = random.Random(0), 0, set()
    while killed < 25:
        number = len(stored) + generator.randrange(4)
        name = generator.choice([f"tokens-{number:05}.npy", f"crops-{number:05}.parquet", "gallery.json", ".lock"])
        if (target / name).exists():
            continue  # it would be killed before it does anything
        kill = {"when": str(target / name), "rank": 0, "signal": int(signal.SIGKILL)}
        ((code, _, error),) = workers(1, "focus", *arguments, kill=kill)
        assert code in (0, -signal.SIGKILL), error
        killed += code == -signal.SIGKILL
        if not (target / "gallery.json").exists():
            continue  # killed before it had begun
        found = [crop.path for part in read_gallery(target).parts for crop in part.crops()]
        assert len(found) == len(set(found))
        assert stored <= set(found)
        stored = set(found)
        if code == 0:
            assert len(found) == 72
            shutil.rmtree(target)
            stored = set()
    assert workers(1, "focus", *arguments)[0][0] == 0
    gallery = read_gallery(target)
    assert sorted(crop.path for part in gallery.parts for crop in part.crops()) == sorted(
        file.name for file in images.iterdir()
    )
    expected = {part.file(kind).name for part in gallery.parts for kind in ("tokens", "projection", "crops")}
    assert {file.name for file in target.iterdir()} == expected | {"gallery.json", "projection.npz", ".lock"}


def test_conditions_groups_and_formats(focus, gallery, tmp_path):
    found = focus("search", gallery, "red hat", "--where", '"Bright" > 0', "--per-group", "--json").json["results"]
    groups = [row["group"] for row in found]
    assert len(set(groups)) == len(groups) > 0
    every = focus("search", gallery, "bright trousers", "--json").json["results"]
    assert {row["group"] for row in every if row["scores"]["bright trousers"] > 0} == set(groups)

    arguments = ("search", gallery, "red hat", "RedHat", "--each", "--not", "green scarf", "-k", 4)
    found, table = focus(*arguments, "--json").json["results"], focus(*arguments).stdout
    sheet = tmp_path / "hits.png"
    outcome = focus(*arguments, "--format", "csv", "-o", tmp_path / "hits.csv", "--sheet", sheet)
    assert (outcome.code, outcome.stdout) == (0, "")
    rows = [*csv.DictReader(io.StringIO((tmp_path / "hits.csv").read_text()))]
    assert [row["image"] for row in rows] == [row["image"] for row in found]
    assert [float(row["score"]) for row in rows] == [row["scores"]["red hat"] for row in found]
    assert [float(row["match"]) for row in rows] == [row["match"] for row in found]
    assert all(row["image"] in table for row in rows)
    assert "not green scarf" in table
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert picture.height > 600
    again = focus("search", gallery, "red hat", "--sheet", sheet)
    assert (again.code, "--force" in again.stderr) == (3, True)


def test_without_the_extra_and_on_a_dry_run_nothing_is_written(
    focus, gallery, coloured_dataset, trained_run, tmp_path, monkeypatch
):
    arguments = ("index", coloured_dataset, "-c", trained_run, "-o")
    outcome = focus(*arguments, tmp_path / "g", "--dry-run", "--json")
    assert (outcome.json["encoded"], outcome.json["parts"], outcome.json["dry_run"]) == (72, 1, True)
    monkeypatch.setattr("focuscli.storage.extras.find_spec", lambda name: None)
    for command in (["search", gallery, "hat"], [*arguments, tmp_path / "g"]):
        outcome = focus(*command)
        assert (outcome.code, "pip install 'focus-par[gallery]'" in outcome.stderr) == (4, True)
    assert not (tmp_path / "g").exists()


def test_images_that_leave_a_gallery_are_counted_in_a_warning(focus, coloured_dataset, trained_run, tmp_path):
    arguments = ("index", coloured_dataset, "-o", tmp_path / "g", "-c", trained_run, "--device", "cpu", "-q")
    assert focus(*arguments).stderr == ""
    outcome = focus(*arguments, "--resume", "--split", "test")
    assert f"! 56 of the 72 images in {tmp_path / 'g'} are not in coloured test" in outcome.stderr
