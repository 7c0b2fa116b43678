"""What a command line may import before it does its work: a prompt that answers late is a prompt that nobody asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"PIL", "ftfy", "jinja2", "matplotlib", "numpy", "onnxruntime", "rich", "scipy", "tensorboard", "timm", "torch"}
CONFIG = "focuscli.config"
"""Imports pydantic. Typer 0.29 and later import that for every command line themselves, so only we can be tested."""


def imported(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported after running some code."""
    code += "\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["help", "exit-codes"], ["trian"]])
def test_focus_itself_imports_nothing_heavy(arguments):
    code = f"import sys\nfrom focuscli.cli.main import app\napp({arguments}, standalone_mode=False)"
    assert imported(code) & {*HEAVY, CONFIG} == set()


@pytest.mark.parametrize("arguments", [["datasets"], ["runs", "--json"], ["config", "show", "train"], ["doctor"]])
def test_what_lists_things_imports_no_torch(arguments):
    code = f"import sys\nfrom focuscli.cli.main import app\napp({arguments}, standalone_mode=False)"
    assert imported(code) & {"torch", "torchvision", "timm", "PIL", "matplotlib"} == set()


def test_no_command_imports_anything_heavy_before_it_runs():
    code = "import sys\nfrom focuscli.cli.main import COMMANDS, load_command\nfor name in COMMANDS: load_command(name)"
    assert imported(code) & HEAVY == set()
