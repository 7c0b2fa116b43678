"""The command table, global options, error style and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from json import loads
from pathlib import Path

import pytest

from focuscli.cli.errors import EXIT_CODES, describe
from focuscli.cli.main import COMMANDS
from focuscli.errors import CheckFailed


def test_help_shows_the_whole_line_of_each_command(focus):
    for arguments, lines in (([], COMMANDS.values()), (["prepare"], ["or a file in any usual format."])):
        listing = " ".join(focus(*arguments, "--help").stdout.partition("Commands:")[2].split())
        assert "..." not in listing
        assert all(line in listing for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "help", "exit-codes"],
        ["help", "--json", "exit-codes", "-qv"],
        ["--home", "elsewhere", "help", "exit-codes", "--json", "--quiet"],
        ["help", "--home=elsewhere", "exit-codes", "--json", "--verbose"],
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
        (["prepare", "petra"], 2, "petra"),
        (["help", "cooking"], 2, "exit-codes"),
        (["train", "-d", "a", "--dataset=b"], 2, "--dataset was given 2 times"),
        (["prepare", "peta", ".", "--out", "a", "--out", "b", "--out", "c"], 2, "--out was given 3 times"),
        (["--home", "a", "--home", "b", "doctor"], 2, "--home was given 2 times"),
        (["search", "g", "hat", "--fast", "--exact"], 2, "--fast was given 2 times"),
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
    assert (problem[:7], hint[:7], words in plain.stderr) == ("error: ", "hint:  ", True)
    outcome = focus("--json", *arguments)
    assert (outcome.code, outcome.json["error"]["code"], outcome.stderr) == (code, code, "")
    assert words in f"{outcome.json['error']['message']} {outcome.json['error']['hint']}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [("help exit-codes", False, 4), ("eval -c nothing --json", False, 3), ("help exit-codes", True, 0)],
)
def test_stdout_that_cannot_be_written_gives_no_traceback_and_a_closed_pipe_is_no_error(arguments, closed, code):
    reading, writing = os.pipe() if closed else (os.open("/dev/zero", os.O_RDONLY), os.open("/dev/full", os.O_WRONLY))
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        command = [sys.executable, "-m", "focuscli", *arguments.split()]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert not any(words in done.stderr for words in ("Traceback", "Exception ignored"))


@pytest.mark.parametrize(
    ("redirected", "code", "words"),
    [(">&-", 4, "Standard output is closed"), ("2>&-", 0, "done"), ("<&-", 0, "done"), (">&- 2>&- <&-", 4, "")],
)
def test_closed_streams_are_no_bug(redirected, code, words):
    command = f"{sys.executable} -m focuscli help exit-codes {redirected}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk", "utf-8"])
@pytest.mark.parametrize("json", [False, True])
def test_every_letter_reaches_a_stream_of_any_encoding_and_no_control_character_a_terminal(encoding, json):
    text = "hat 外套 \x1b[31m \U0001f9e2 \u202e"
    code = f"from focuscli.cli import render\nrender.reset()\nrender.configure(json={json})\nt = {text!a}\n"
    code += "render.result([t], lines=[t])\nrender.table(['text'], [[t]])\nrender.warn(t)"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    first, *rows = done.stdout.decode(encoding).splitlines()
    assert (loads(first) == [text]) if json else ("\\x1b[31m" in first)
    letters = "外套" if encoding in ("gbk", "utf-8") else r"\u5916\u5957"
    assert f"hat {letters} \\x1b[31m " in rows[-1]
    assert "外套" in done.stderr.decode(encoding) or r"\u5916" in done.stderr.decode(encoding)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (CheckFailed("x"), 5),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (OSError(28, "full"), 4),
        (OSError(24, "Too many open files", "a"), 4),
        (PermissionError(13, "Permission denied", "a"), 3),
        (OSError(36, "File name too long", b"a"), 3),
        (ConnectionResetError("reset"), 4),
        (OSError("truncated"), 3),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(failure, code):
    found, message, _ = describe(failure)
    assert (found, message > "", code in EXIT_CODES) == (code, True, True)


def test_a_traceback_shows_only_with_verbose(focus, monkeypatch):
    from focuscli.storage import paths

    def broken(_name):
        raise ValueError("a bug")

    monkeypatch.setattr(paths, "resolve_checkpoint", broken)
    silent = focus("eval")
    assert (silent.code, "Traceback" in silent.stderr) == (1, False)
    assert "internal error: ValueError: a bug" in silent.stderr
    assert "-v" in silent.stderr
    assert "Traceback" in focus("eval", "-v").stderr
