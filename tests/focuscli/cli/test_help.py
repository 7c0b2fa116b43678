"""Help that can be trusted: every command ends with examples that parse, choices show, and the shell completes values."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
import typer

from focuscli.cli.examples import examples
from focuscli.cli.main import COMMANDS, GLOBAL_OPTIONS, app, load_command
from focuscli.data.regions import REGIONS
from focuscli.storage import paths

GLOBAL = [option for option in typer.main.get_command(app).params if option.name in GLOBAL_OPTIONS]
FOUND = {name: load_command(name, GLOBAL) for name in COMMANDS}
for group in [name for name in FOUND if hasattr(FOUND[name], "commands")]:
    FOUND |= {f"{group} {word}": command for word, command in FOUND[group].commands.items()}
"""Every command and subcommand by its words: "prepare", "prepare peta"."""


@pytest.mark.parametrize("name", [*FOUND])
def test_the_help_of_a_command_ends_with_its_examples_which_parse(focus, name):
    shown = focus("help", *name.split())
    assert shown.code == 0, shown.stderr
    assert shown.stdout == focus(*name.split(), "--help").stdout
    assert shown.stdout.rstrip().endswith("\n    ".join(["Examples:", *examples(name)]))
    assert len(examples(name)) in (2, 3)
    for example in examples(name):
        focus_, *words = shlex.split(example.partition(" < ")[0])
        command = " ".join(words[:2]) if " ".join(words[:2]) in FOUND else words[0]
        assert (focus_, command.startswith(name)) == ("focus", True)
        FOUND[command].make_context(command, words[len(command.split()) :])


def test_what_has_only_subcommands_lists_them(focus):
    for name in ("prepare", "schema", "config"):
        alone = focus(name)
        assert (alone.code, alone.stdout) == (0, focus(name, "--help").stdout)
        assert focus(name, "--json").json["help"] == alone.stdout.rstrip("\n")
    assert focus("help").stdout == focus().stdout == focus("--help").stdout


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("search", "--format [table|csv|jsonl]"),
        ("predict", "--format [table|csv|jsonl]"),
        ("train", "--method [focus|clip-ft|poar|vtb]"),
        ("train", "[default: 100; tiny: 30]"),
        ("bench", "--model [vit-b16|tiny]"),
        ("eval", "--threshold [val|global|oracle]"),
        ("prepare synthetic", "--style [studio|street|night]"),
        ("report", "--device [auto|cpu|cuda|mps]"),
        ("viz", f"--region [{'|'.join(REGIONS)}]"),
        ("predict", "--backend [torch|onnx]"),
    ],
)
def test_choices_and_defaults_are_shown(focus, command, shown):
    assert shown in " ".join(focus("help", *command.split()).stdout.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("focus pre", {"prepare", "predict"}),
        ("focus prepare s", {"synthetic"}),
        ("focus train --method ", {"focus", "clip-ft", "poar", "vtb"}),
        ("focus search gallery hat --format ", {"table", "jsonl", "csv"}),
        ("focus train -d my", {"my crops"}),
        ("focus eval -c f", {"first"}),
        ("focus config show train.ep", {"train.epochs"}),
        ("focus --home elsewhere train -d ", {""}),
    ],
)
def test_the_shell_completes_values_without_torch(line, words):
    (paths.datasets_dir() / "my crops").mkdir(parents=True)
    (paths.datasets_dir() / "my crops" / "schema.toml").touch()
    (paths.runs_dir() / "first" / "checkpoints").mkdir(parents=True)
    asked = {"_FOCUS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    code = "import sys\nfrom focuscli.cli.main import app\ntry: app(prog_name='focus')\n"
    code += "finally: assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert ({*done.stdout.splitlines()}, done.stderr) == (words, "")
