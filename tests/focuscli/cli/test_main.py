"""The command table, global options, error style and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from focuscli.cli.errors import EXIT_CODES, describe
from focuscli.cli.main import COMMANDS
from focuscli.errors import CheckFailed


def test_help_shows_the_whole_line_of_each_command(focus):
    for arguments, lines in (
        ([], [*COMMANDS.values()]),
        (["prepare"], ["or a file in any usual format."]),
    ):
        listing = " ".join(focus(*arguments, "--help").stdout.partition("Commands:")[2].split())
        assert "..." not in listing
        assert all(line in listing for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "help", "exit-codes"],
        ["help", "exit-codes", "--json"],
        ["help", "--json", "exit-codes", "-qv"],
        ["--home", "elsewhere", "help", "--json", "--quiet"],
        ["help", "--home=elsewhere", "--json", "--verbose"],
    ],
)
def test_global_options_work_before_and_after_the_command(focus, arguments):
    assert focus(*arguments).json == {str(code): meaning for code, meaning in EXIT_CODES.items()}


def test_the_module_is_the_command_and_says_its_version_anywhere():
    command = [sys.executable, "-m", "focuscli", "prepare", "peta", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:8]) == (0, "focus 0.")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian"], 2, "Did you mean train?"),
        (["--home", "somewhere", "trian"], 2, "Did you mean train?"),
        (["--bogus"], 2, "--bogus"),
        (["train", "--bogus"], 2, "See: "),
        (["prepare"], 2, "Missing command"),
        (["prepare", "petra"], 2, "petra"),
        (["help", "cooking"], 2, "exit-codes"),
        (["help", "--", "--json"], 2, 'No help on "--json"'),
        (["doctor", "--home="], 2, "--home"),
        (["eval", "-c", "nothing"], 3, "nothing"),
        (["train", "--dataset", "rapv4"], 3, "Did you mean rapv"),
        (["predict", "[/data/peta] missing.jpg"], 3, "[/data/peta] missing.jpg"),
    ],
)
def test_an_error_is_two_lines_on_stderr_or_one_json_object(focus, arguments, code, words):
    plain = focus(*arguments)
    assert plain.code == code
    assert plain.stdout == ""
    problem, hint = plain.stderr.splitlines()
    assert problem.startswith("error: ")
    assert hint.startswith("hint:  ")
    assert words in plain.stderr
    outcome = focus("--json", *arguments)
    assert (outcome.code, outcome.json["error"]["code"], outcome.stderr) == (code, code, "")
    assert words in f"{outcome.json['error']['message']} {outcome.json['error']['hint']}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["help", "exit-codes"], 4), (["eval", "-c", "nothing", "--json"], 3)],
)
def test_stdout_that_cannot_be_written_gives_no_traceback(arguments, code):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "focuscli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_pipe_is_not_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-m", "focuscli", "help", "exit-codes"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (CheckFailed("x"), 5),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (OSError(28, "No space left on device"), 4),
        (ValueError("a bug"), 1),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(failure, code):
    found, message, hint = describe(failure)
    assert found == code
    assert message
    assert code in EXIT_CODES
    if code == 1:
        assert "internal error" in message
        assert "-v" in hint


def test_a_traceback_shows_only_with_verbose(focus, monkeypatch):
    from focuscli.storage import paths

    def broken(_name):
        raise ValueError("a bug")

    monkeypatch.setattr(paths, "resolve_checkpoint", broken)
    silent = focus("eval")
    assert silent.code == 1
    assert "internal error: ValueError: a bug" in silent.stderr
    assert "Traceback" not in silent.stderr
    assert "Traceback" in focus("eval", "-v").stderr
