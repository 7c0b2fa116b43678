"""Every argument and option of every command: scripts depend on them, so none appears or disappears by accident.

`python tests/contracts/test_options.py` writes options.txt anew; review it as a diff.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from focuscli.cli.main import COMMANDS, app, load_command

FOLDER = Path(__file__).parent
CHANGELOG = FOLDER.parents[1] / "CHANGELOG.md"


def live_options() -> list[str]:
    """One line per argument and option: "predict INPUT...", "predict --checkpoint, -c"."""
    lines = [*_parameters("", typer.main.get_command(app))]
    for name in COMMANDS:
        command = load_command(name)
        lines += _parameters(name, command)
        for subcommand, node in getattr(command, "commands", {}).items():
            lines += _parameters(f"{name} {subcommand}", node)
    return sorted(lines)


def _parameters(command: str, node: Any) -> Iterator[str]:
    for parameter in node.params:
        names = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            names = [parameter.metavar or parameter.name.upper()]
        yield f"{command} {', '.join(names)}".strip()


def spellings(lines: list[str]) -> set[str]:
    """Each spelling with its command: "predict --checkpoint, -c" is "predict --checkpoint" and "predict -c"."""
    found = set()
    for line in lines:
        first, *others = line.split(", ")
        command = first.rpartition(" ")[0]
        found |= {first, *(f"{command} {other}".strip() for other in others)}
    return found


def stored(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()


def test_the_options_are_those_on_record():
    assert live_options() == stored("options.txt")


def test_an_option_of_0_1_is_there_or_its_replacement_is_in_the_changelog():
    changes = CHANGELOG.read_text(encoding="utf-8")
    gone = spellings(stored("options-0.1.txt")) - spellings(live_options())
    assert sorted(option for option in gone if f"`focus {option}" not in changes) == []


if __name__ == "__main__":
    (FOLDER / "options.txt").write_text("\n".join(live_options()) + "\n", encoding="utf-8")
