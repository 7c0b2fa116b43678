"""Runs and exported models of version 0.1.0 still load and give the scores that they gave then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CROPS = FIXTURES / "run-0.1.0-crops"


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that version 0.1.0 trained on synthetic data; `best` and `last` have one model, stored once."""
    folder = tmp_path_factory.mktemp("old") / "run"
    shutil.copytree(FIXTURES / "run-0.1.0", folder)
    (model,) = (folder / "checkpoints/last").glob("model-*.safetensors")
    shutil.copy(model, folder / "checkpoints/best" / model.name)
    return folder


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_predictions_are_those_of_then(old_run, backend, monkeypatch, request):
    if backend == "onnx":
        request.getfixturevalue("onnx_extra")
    from focuscli.cli.main import app

    arguments = ["predict", str(CROPS), "-c", str(old_run), "--backend", backend, "--format", "jsonl"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    expected = [json.loads(line) for line in (CROPS / f"predict-{backend}.jsonl").read_text().splitlines()]
    for now, then in zip(found, expected, strict=True):
        assert Path(now["image"]).name == Path(then["image"]).name
        assert now["scores"] == pytest.approx(then["scores"], abs=2e-3)
        assert (now["present"], now["thresholds"]) == (then["present"], then["thresholds"])


def test_renamed_settings_and_the_training_state_are_read(old_run):
    from focuscli.engine.checkpoint import read_checkpoint, saved_config

    written = (old_run / "config.toml").read_text()
    assert "accumulate = 2" in written
    assert "single_texts" not in written
    saved = saved_config(old_run)
    assert (saved.train.gradient_accumulation_steps, saved.train.max_grad_norm) == (2, 1.0)
    assert saved.data.single_texts == "alone"  # what it was trained with, and not today's default
    checkpoint = read_checkpoint(old_run / "checkpoints/last")
    assert checkpoint.state["step"] == 4
    assert checkpoint.tensors("optimizer").keys()
