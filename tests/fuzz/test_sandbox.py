"""The sandbox notices what `make fuzz` looks for: a campaign can fail."""

from __future__ import annotations

import ctypes
import json
import os
import random
import socket
import sys
import threading

import pytest

from focuscli.cli.errors import report
from tests.fuzz import mutate, sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox uses Linux's limits")


def recursion() -> int:
    return recursion()


def wait() -> int:
    threading.Event().wait()
    return 0


def work() -> int:
    while True:
        pass


BAD = {
    "hang": [wait, work],
    "crash": [lambda: ctypes.string_at(0), os.abort, lambda: os._exit(7)],
    "memory": [lambda: len(bytearray(2**31)), lambda: len([0] * 2**28)],
    "code run": [lambda: os.system("true"), lambda: socket.socket().connect(("127.0.0.1", 9))],
    "internal": [lambda: 1 // 0, recursion, lambda: 1],
    "refused": [lambda: 2, lambda: 3],
    "accepted": [lambda: 0],
}


@pytest.mark.parametrize(("kind", "command"), [(kind, command) for kind, some in BAD.items() for command in some])
def test_what_becomes_of_a_command_is_seen(monkeypatch, kind, command):
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    monkeypatch.setattr(sandbox, "PATIENCE", 3)

    def called() -> int:
        try:
            return command()
        except Exception as error:
            return report(error)

    outcome = sandbox.run(called)[0]
    assert outcome.kind == kind, outcome.detail
    assert outcome.failed == (kind not in ("accepted", "refused"))


def test_a_command_that_ends_the_child_is_the_last():
    assert [outcome.kind for outcome in sandbox.run(lambda: 0, lambda: 3, os.abort, lambda: 0)] == [
        "accepted",
        "refused",
        "crash",
    ]


def test_a_commands_message_comes_back(tmp_path):
    (tmp_path / "schema.toml").write_text("name = [")
    outcome = sandbox.run(lambda: sandbox.focus(("schema", "check", str(tmp_path))))[0]
    assert outcome.kind == "refused"
    assert "schema.toml" in outcome.detail


def test_mutants_repeat_and_are_reduced_to_the_edit_that_fails():
    seed = json.dumps({"number": 17, "words": ["a", "b"] * 20}).encode()
    first, second = ([mutate.edits(seed, random.Random(7)) for _ in range(3)] for _ in range(2))
    assert first == second
    assert any(mutate.apply(seed, changes) != seed for changes in first)
    changes = [mutate.Edit(0, 1, b"{"), mutate.Edit(11, 2, b"NaN"), mutate.Edit(3, 1, b"u")]
    assert mutate.reduce(changes, lambda fewer: b"NaN" in mutate.apply(seed, fewer)) == [changes[1]]
