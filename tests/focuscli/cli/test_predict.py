"""`focus predict` on a small trained run and on zero-shot CLIP; exported models have a file of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest


def test_json_lines_skip_what_cannot_be_read(focus, trained_run, crops, tmp_path):
    shutil.copy(crops / "000.png", tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes((crops / "001.png").read_bytes()[:60])
    (tmp_path / "c.png").write_text("no picture")
    outcome = focus("predict", tmp_path, "-c", trained_run, "-a", "red hat", "-a", "green scarf", "--format", "jsonl")
    assert outcome.code == 0, outcome.stderr
    line = outcome.json
    assert set(line["scores"]) == {"red hat", "green scarf"}
    assert line["unseen"] == ["green scarf"]
    assert line["threshold_source"] == {"red hat": "val", "green scarf": "mean of head"}
    assert line["weights"] == "from scratch"
    assert ("red hat" in line["present"]) is (line["scores"]["red hat"] > line["thresholds"]["red hat"])
    assert "skipped 2 unreadable of 3 images" in outcome.stderr
    assert "b.jpg" in outcome.stderr
    (tmp_path / "d.HEIC").touch()
    listed = f"{tmp_path}/gone.png\0{tmp_path}\0".encode()
    outcome = focus("predict", "-", "-0", "-c", trained_run, "--format", "jsonl", stdin=listed)
    assert (outcome.code, outcome.json["image"]) == (0, str(tmp_path / "a.png"))
    assert "! left out: 1 other file (d.HEIC); to read such files: pip install pillow-heif" in outcome.stderr
    assert "skipped 3 unreadable of 4 images" in outcome.stderr
    assert f"No such image: {tmp_path}/gone.png" in outcome.stderr
    assert focus("predict", tmp_path, "-c", trained_run, "--strict").code == 3
    assert focus("predict", tmp_path / "c.png", "-c", trained_run).code == 3


def test_how_unseen_texts_are_read_is_said_where_there_are_any(focus, trained_run, crops):
    trained = focus("predict", crops / "000.png", "-c", trained_run)
    (line,) = trained.stderr.splitlines()  # and nothing else
    assert line.startswith(f"model: {trained_run} · focus, trained on coloured (40 images, train), epoch ")
    assert line.endswith(" of 10, weights: from scratch")
    texts = ("-a", "red hat", "-a", "purple gloves", "-a", "purple  GLOVES")
    unseen = focus("predict", crops / "000.png", "-c", trained_run, *texts, "--format", "csv")
    assert unseen.code == 0, unseen.stderr
    header = next(csv.reader(unseen.stdout.splitlines()))
    assert header[:4] == ["image", "RedHat", "RedHat threshold", "RedHat present"]
    assert header[4:] == [f"purple gloves{of}" for of in ("", " threshold", " present")]
    assert '"purple gloves" was not trained' in unseen.stderr
    assert "unseen texts mean little" in unseen.stderr


def test_csv_table_stdin_and_output(focus, trained_run, crops, tmp_path):
    names = [str(crops / "000.png"), str(crops / "001.png")]
    outcome = focus("predict", "-", "-c", trained_run, "--format", "csv", stdin="\n".join(names) + "\n")
    rows = [*csv.reader(io.StringIO(outcome.stdout))]
    assert rows[0][1::3] == ["RedHat", "Bright", "Dark"]
    assert [row[0] for row in rows[1:]] == names
    for row in rows[1:]:
        for score, threshold, present in zip(row[1::3], row[2::3], row[3::3], strict=True):
            assert (float(score) > float(threshold)) is (present == "1")
    phrases = focus("predict", *names, "-c", trained_run, "--format", "csv", "--headers", "phrase")
    assert next(csv.reader(phrases.stdout.splitlines()))[1::3] == ["red hat", "bright trousers", "dark trousers"]
    assert phrases.stdout.splitlines()[1:] == outcome.stdout.splitlines()[1:]
    table = focus("predict", crops / "00*.png", "-c", trained_run, "-a", "red hat")
    assert table.stdout.count("red hat") == 10
    (tmp_path / "texts.txt").write_text("# mine\nred hat\nred hatt\n")
    listed = ("-a", f"@{tmp_path / 'texts.txt'}", "--free", "--format", "csv")
    assert focus("predict", names[0], "-c", trained_run, *listed).stdout.startswith("image,RedHat,")
    target = tmp_path / "out.csv"
    arguments = ("predict", *names, "-c", trained_run, "-o", target)  # the name says the format
    assert focus(*arguments).stdout == ""
    assert target.read_text() == outcome.stdout
    target.write_text("mine")
    assert focus(*arguments).code == 3
    assert target.read_text() == "mine"
    assert focus(*arguments, "--force").code == 0


def test_all_texts_asked_for_are_shown_with_the_source_of_thresholds_once(focus, trained_run, crops):
    many = [word for number in range(12) for word in ("-a", f"{number} stripes")]
    lines = focus("predict", crops / "000.png", "-c", trained_run, "-a", "red hat", *many).stdout.splitlines()
    assert len(lines) == 1 + 13 + 1
    assert lines[-1].startswith("thresholds: chosen on val, criterion mA; mean of all (0 stripes, 1 stripes, ")
    best = focus("predict", crops / "000.png", "-c", trained_run, *many, "--top", 2).stdout.splitlines()
    assert len(best) == 1 + 2 + 1


def test_one_threshold_for_all_and_one_answer_per_group(focus, trained_run, crops):
    arguments = ("predict", crops, "-c", trained_run, "--format", "jsonl")
    for threshold, present in ((-1000, 3), (1000, 0)):
        lines = [*map(json.loads, focus(*arguments, "--threshold", threshold).stdout.splitlines())]
        assert {len(line["present"]) for line in lines} == {present}
        assert lines[0]["threshold_source"]["red hat"] == "--threshold"
    for threshold, others in ((-1000, 1), (1000, 0)):  # a hat is alone in its group
        lines = focus(*arguments, "--threshold", threshold, "--exclusive").stdout.splitlines()
        for line in map(json.loads, lines):
            trousers = max(("bright trousers", "dark trousers"), key=line["scores"].get)
            assert line["present"] == ["red hat"] * others + [trousers]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.txt", None])
def test_interrupted_it_keeps_what_it_has(focus, trained_run, crops, tmp_path, monkeypatch, name):
    def interrupted(*_arguments, **_options):
        yield from np.zeros((2, 3), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr("focuscli.engine.scoring.score_images", interrupted)
    output = ["-o", tmp_path / name] if name else []
    outcome = focus("predict", crops / "00*.png", "-c", trained_run, *output)
    assert (outcome.code, "2 of 10 images" in outcome.stderr) == (130, True)
    written = (tmp_path / name).read_text() if name else outcome.stdout
    assert [f"00{number}.png" in written for number in range(3)] == [True, True, False]
    assert [path.name for path in tmp_path.iterdir()] == [name] * bool(name)


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not UTF-8")
@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_a_file_name_that_is_not_utf8_comes_out_unchanged(focus, trained_run, crops, tmp_path, format_):
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(crops / "000.png", name)
    arguments = ("-c", trained_run, "-a", "red hat", "--format", format_)
    for source, stdin in ((tmp_path, None), ("-", name + b"\n")):
        outcome = focus("predict", source, *arguments, stdin=stdin)
        assert outcome.code == 0, outcome.stderr
        assert (os.fsencode(outcome.json["image"]) == name) if format_ == "jsonl" else (name in outcome.raw)
    written = focus("predict", tmp_path, *arguments, "-o", tmp_path / "out")
    assert written.code == 0, written.stderr
    assert (tmp_path / "out").read_bytes() == outcome.raw


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-a", " "], 2, "empty"),
        (["-a", "a man who " + "walks " * 90], 2, "tokens; CLIP reads 77"),
        (["-a", "scarf", "--region", "tail"], 2, "tail"),
        (["-a", "red hat", "--region", "tail"], 2, "tail"),
        (["--region", "head"], 2, "--region head needs a text"),
        (["-a", "red hatt"], 2, 'Did you mean "red hat"?'),
        (["-a", "red hat,dusk"], 2, "one by one: -a 'red hat' -a dusk"),
        (["-a", "@no-such.txt"], 3, "no-such.txt"),
        (["--format", "xml"], 2, "jsonl"),
        (["--format", "csv", "-o", "a.jsonl"], 2, "contradicts --format csv"),
        (["-o", "a.parquet"], 2, "Name a .csv or .jsonl file"),
        (["--headers", "name"], 2, "Add --format csv"),
        (["--top", "1", "--format", "csv"], 2, "Use --format jsonl"),
        (["--threshold", "nan"], 2, "--threshold nan"),
        (["--backend", "tpu"], 2, "torch, onnx"),
        (["-c", "nothing.onnx"], 3, "focus export"),
        (["-c", "latest"], 4, "focus train"),
    ],
)
def test_refusals(refused, trained_run, crops, arguments, code, words):
    run = [] if "-c" in arguments else ["-c", trained_run]
    refused(code, words, "predict", crops / "000.png", *run, *arguments)


def test_zero_shot_clip_has_scores_but_no_thresholds(focus, weights, crops, tmp_path):
    line = focus("predict", crops / "000.png", "-c", "clip", "-a", "red hat", "--format", "jsonl").json
    assert np.isfinite(line["scores"]["red hat"])
    assert line["thresholds"] == {"red hat": None}
    assert line["present"] == []
    table = focus("predict", crops / "000.png", "-c", "clip", "-a", "red hat")
    assert "yes" not in table.stdout
    assert table.stdout.splitlines()[-1] == "thresholds: none"
    picture = focus("viz", crops / "000.png", "red hat", "-c", "clip", "-o", tmp_path / "map.png", "--json")
    assert picture.code == 0, picture.stderr
    assert picture.json["thresholds"] == {"red hat": None}
