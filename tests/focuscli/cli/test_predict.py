"""`focus predict` on a small trained run and on zero-shot CLIP; exported models have a file of their own."""

from __future__ import annotations

import csv
import io
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
    assert unseen.stdout.splitlines()[0] == "image,red hat,purple gloves"
    assert '"purple gloves" was not trained' in unseen.stderr
    assert "unseen texts mean little" in unseen.stderr


def test_csv_table_stdin_and_output(focus, trained_run, crops, tmp_path):
    names = [str(crops / "000.png"), str(crops / "001.png")]
    outcome = focus("predict", "-", "-c", trained_run, "--format", "csv", stdin="\n".join(names) + "\n")
    rows = [*csv.reader(io.StringIO(outcome.stdout))]
    assert rows[0] == ["image", "red hat", "bright trousers", "dark trousers"]
    assert [row[0] for row in rows[1:]] == names
    table = focus("predict", crops / "00*.png", "-c", trained_run, "-a", "red hat")
    assert table.stdout.count("red hat") == 10
    (tmp_path / "texts.txt").write_text("# mine\nred hat\nred hatt\n")
    listed = ("-a", f"@{tmp_path / 'texts.txt'}", "--free", "--format", "csv")
    assert focus("predict", names[0], "-c", trained_run, *listed).stdout.startswith("image,red hat,red hatt\n")
    target = tmp_path / "out.csv"
    arguments = ("predict", *names, "-c", trained_run, "--format", "csv", "-o", target)
    assert focus(*arguments).stdout == ""
    assert target.read_text() == outcome.stdout
    target.write_text("mine")
    assert focus(*arguments).code == 3
    assert target.read_text() == "mine"
    assert focus(*arguments, "--force").code == 0


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
        (["-a", "red hat,dusk"], 2, "one by one: 'red hat' dusk"),
        (["-a", "@no-such.txt"], 3, "no-such.txt"),
        (["--format", "xml"], 2, "jsonl"),
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
    assert "threshold none" in table.stdout
    picture = focus("viz", crops / "000.png", "red hat", "-c", "clip", "-o", tmp_path / "map.png", "--json")
    assert picture.code == 0, picture.stderr
    assert picture.json["thresholds"] == {"red hat": None}
