"""A runner for whole commands, and one small trained run that many tests look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

MICRO = [
    "--model",
    "tiny",
    "--weights",
    "none",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--batch-size",
    "8",
    "--set",
    "model.image_size=32,16",
    "--set",
    "model.global_tokens=2",
    "--set",
    "augment.margin=2",
    "--set",
    "augment.erase=0",
    "--set",
    "train.warmup_steps=2",
]
"""Options of the smallest run that trains."""


@pytest.fixture
def micro() -> list[str]:
    return MICRO


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.stdout)


@pytest.fixture
def focus():
    """Call `focus` in this process: focus("train", ...) -> Outcome."""
    from focuscli.cli import commands  # noqa: F401
    from focuscli.cli.app import app

    def call(*arguments: object, stdin: str | None = None) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, coloured_dataset) -> Path:
    """A run that has learnt the coloured dataset."""
    from focuscli.cli import commands  # noqa: F401
    from focuscli.cli.app import app

    folder = tmp_path_factory.mktemp("runs") / "coloured"
    arguments = [
        "train",
        "--dataset",
        str(coloured_dataset),
        "--run",
        str(folder),
        "--epochs",
        "10",
        "--lr",
        "3e-3",
        *MICRO,
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return folder
