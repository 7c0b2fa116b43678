"""`focus bench`, and the training step that it times."""

from __future__ import annotations

import json

import pytest
import torch

from focuscli.tools.bench import random_model, step_fn

SMALL = ["--model", "tiny", "--batch", 1, "--batch", 2, "--rounds", 1, "--precision", "fp32", "--device", "cpu"]


def test_a_table_and_a_file_of_the_same_rows_and_json_of_a_run_without_training(focus, trained_run, tmp_path):
    path = tmp_path / "bench.json"
    outcome = focus("bench", *SMALL, "-o", path)
    assert outcome.code == 0, outcome.stderr
    header, *lines = outcome.stdout.splitlines()
    assert header.split() == ["task", "precision", "batch", "ms/image", "images/s", "peak", "memory"]
    assert [line.split()[0] for line in lines] == ["predict", "predict", "decode", "train"]
    assert lines[-1].endswith("MiB")
    report = json.loads(path.read_text())
    assert (report["model"], report["image_size"], report["texts"]) == ("tiny, random weights", [128, 64], 51)
    for row in report["results"]:
        assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["seconds"])
    outcome = focus("bench", "-c", trained_run, *SMALL[2:], "--no-train", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["model"] == str(trained_run / "checkpoints" / "best")
    assert [row["task"] for row in outcome.json["results"]] == ["predict", "predict", "decode"]


def test_a_step_trains_what_a_run_trains_and_nothing_else():
    model, config = random_model("tiny")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = step_fn(model.train(), config, 2, "fp32")
    losses = [step() for _ in range(3)]
    assert losses[2] < losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"mix_tokens.tokens", "prompts.context", "avfe.query.weight", "clip.visual.proj"} <= changed
    assert all(name.startswith("clip.visual.") for name in changed if name.startswith("clip."))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "huge"], 2, 'Unknown model "huge"'),
        (["--precision", "int8"], 2, "precision int8"),
        (["--batch", "0"], 2, "batch"),
        (["--device", "gpu"], 2, "Unknown device"),
        (["--device", "cuda:99"], 4, "No CUDA device for --device cuda:99"),
        (["-c", "nowhere"], 3, "nowhere"),
        (["-o", "mine.json"], 3, "mine.json exists already; nothing was changed.\nhint:  Add --force"),
    ],
)
def test_refusals(refused, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("mine")
    refused(code, words, "bench", *arguments)
    assert (tmp_path / "mine.json").read_text() == "mine"
