"""Global options, error style, exit codes, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from focuscli.cli.errors import EXIT_CODES, describe
from focuscli.cli.main import COMMANDS, load_command
from focuscli.errors import CheckFailed, InputError, Interrupted, RequirementError, UsageError


def test_version_and_module_entry():
    done = subprocess.run([sys.executable, "-m", "focuscli", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("focus 0.")


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
    assert focus(*arguments).json["5"] == EXIT_CODES[5]


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"], ["prepare", "peta", "--version"]])
def test_version_anywhere(focus, arguments):
    assert focus(*arguments).stdout.startswith("focus 0.")


def test_what_follows_two_dashes_is_no_option(focus):
    outcome = focus("help", "--", "--json")
    assert outcome.code == 2
    assert 'No help on "--json"' in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    assert load_command(name).get_short_help_str(limit=400) == COMMANDS[name].help


@pytest.mark.parametrize("before", [True, False])
def test_json_errors_are_one_object_on_stdout(focus, before):
    arguments = ["eval", "--checkpoint", "nothing"]
    outcome = focus("--json", *arguments) if before else focus(*arguments, "--json")
    assert outcome.code == 3
    assert outcome.stderr == ""
    assert outcome.json["error"]["code"] == 3
    assert "nothing" in outcome.json["error"]["message"]


def test_json_usage_errors_too(focus):
    outcome = focus("trian", "--json")
    assert outcome.code == 2
    assert "trian" in outcome.json["error"]["message"]


def test_json_usage_errors_after_a_global_option_with_a_value(focus, tmp_path):
    outcome = focus("--home", tmp_path, "trian", "--json")
    assert outcome.code == 2
    assert outcome.json["error"]["code"] == 2


def test_home_must_name_a_folder(focus):
    outcome = focus("--home=", "doctor")
    assert outcome.code == 2
    assert "--home" in outcome.stderr


def test_help_shows_the_whole_line_of_each_command(focus):
    for arguments, end in (([], "predict, explain."), (["prepare"], "any usual format.")):
        listing = focus(*arguments, "--help").stdout.partition("Commands:")[2]
        assert "..." not in listing
        assert end in " ".join(listing.split())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["help", "exit-codes"], 4), (["help", "exit-codes", "--json"], 4), (["eval", "-c", "nothing", "--json"], 3)],
)
def test_stdout_that_cannot_be_written_gives_no_traceback(arguments, code):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "focuscli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_has_gone_is_no_error(flags):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-m", "focuscli", "help", "exit-codes", *flags]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_that_fails_is_one_json_object_with_its_checks(focus, monkeypatch):
    from focuscli.tools import doctor

    found = [doctor.Check("python", "ok", "3"), doctor.Check("torch", "failed", "not [there]", "pip install torch")]
    monkeypatch.setattr(doctor, "run_checks", lambda: found)
    outcome = focus("doctor", "--json")
    assert outcome.code == outcome.json["error"]["code"] == 5
    assert [check["fix"] for check in outcome.json["checks"]] == [None, "pip install torch"]
    plain = focus("doctor")
    assert plain.code == 5
    assert "not [there]" in plain.stdout
    assert "1 of 2 checks failed: torch." in plain.stderr


def test_a_table_shows_brackets_and_backslashes_as_they_are(capsys):
    from focuscli.cli import render

    render.table(("a", "b"), [("[red] x", "\\[/x]")])
    assert capsys.readouterr().out.splitlines()[1].split() == ["[red]", "x", "\\[/x]"]


def test_an_error_is_two_lines_on_stderr_and_nothing_on_stdout(focus):
    outcome = focus("train", "--dataset", "rapv4")
    assert outcome.code == 3
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines() == [
        'error: Unknown dataset "rapv4". Known: pa100k, peta, rapv1, rapv2, synthetic, or a prepared folder.',
        "hint:  Did you mean rapv2?",
    ]


def test_brackets_in_user_words_are_shown_as_they_are(focus):
    outcome = focus("predict", "[/data/peta] missing.jpg")
    assert outcome.code == 3
    assert "[/data/peta] missing.jpg" in outcome.stderr


def test_exit_codes_have_a_help_page(focus):
    outcome = focus("help", "exit-codes")
    assert outcome.code == 0
    for code in EXIT_CODES:
        assert f"{code}  " in outcome.stdout
    assert focus("help", "cooking").code == 2


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UsageError("x"), 2),
        (InputError("x"), 3),
        (RequirementError("x"), 4),
        (CheckFailed("x"), 5),
        (Interrupted("x"), 130),
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


def test_a_traceback_shows_only_with_verbose(focus, monkeypatch, tmp_path):
    from focuscli.storage import paths

    def broken(_name):
        raise ValueError("a bug")

    monkeypatch.setattr(paths, "resolve_checkpoint", broken)
    silent = focus("eval")
    assert silent.code == 1
    assert "internal error: ValueError: a bug" in silent.stderr
    assert "Traceback" not in silent.stderr
    assert "Traceback" in focus("eval", "-v").stderr
