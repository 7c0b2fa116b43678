"""A runner for whole commands, and one small trained run that many tests look at."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from focuscli.cli import render
from focuscli.cli.main import app

_LINE = (
    "--model tiny --weights none --device cpu --threads 1 --batch-size 8 --set model.image_size=32,16 "
    "--set model.global_tokens=2 --set augment.margin=2 --set augment.erase=0 --set train.warmup_steps=2"
)
MICRO = _LINE.split()
"""Options of the smallest run that trains."""


@pytest.fixture(autouse=True)
def fresh_terminal() -> None:
    """No test sees the --quiet or --json of a command that another test has called in this process."""
    render.reset()


@pytest.fixture
def micro() -> list[str]:
    return MICRO


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str
    raw: bytes

    @property
    def json(self):
        return json.loads(self.stdout)


@pytest.fixture
def focus(monkeypatch):
    """Call `focus` in this process: focus("train", ...) -> Outcome."""

    def call(*arguments: object, stdin: str | bytes | None = None) -> Outcome:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["focus", *words])
        result = CliRunner().invoke(app, words, input=stdin)
        return Outcome(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)

    return call


@pytest.fixture
def refused(focus):
    """refused(code, words, *arguments): the command ends with this code and one error, and has printed nothing else."""

    def check(code: int, words: str, *arguments: object) -> Outcome:
        outcome = focus(*arguments)
        assert outcome.code == code, outcome.stderr
        assert words in outcome.stderr
        assert (outcome.stdout, outcome.stderr.count("error:")) == ("", 1)
        assert "Traceback" not in outcome.stderr
        return outcome

    return check


@pytest.fixture
def weights(tmp_path, focus):
    """A random CLIP, installed."""
    from dataclasses import replace

    import torch
    from safetensors.torch import save_file

    from clip_impl import CLIP, TINY

    path = tmp_path / "random-laion.safetensors"
    torch.manual_seed(0)
    model = CLIP(replace(TINY, vision=replace(TINY.vision, image_size=(64, 64))))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    outcome = focus("prepare", "weights", path)
    assert outcome.code == 0, outcome.stderr
    return path


@pytest.fixture
def crops(coloured_dataset) -> Path:
    """The folder of its images, 000.png and so on."""
    return coloured_dataset.parent / "images"


@pytest.fixture(scope="session")
def command():
    """command(*arguments): what `focus` prints, for fixtures that outlive a test; it must succeed."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return call


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, coloured_dataset, command) -> Path:
    """A run that has learnt the coloured dataset."""
    folder = tmp_path_factory.mktemp("runs") / "coloured"
    command("train", "--dataset", coloured_dataset, "--run", folder, "--epochs", 10, "--lr", 3e-3, *MICRO)
    return folder


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory, trained_run, onnx_extra, command) -> Path:
    """A copy of the trained run with export/model.onnx in it."""
    folder = tmp_path_factory.mktemp("exported") / "coloured"
    shutil.copytree(trained_run, folder)
    assert "16 crops of coloured test" in command("export", "-c", folder, "--check")
    return folder
