"""A gallery folder has one writer, and none after it is gone, killed or not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from focuscli.errors import InputError, RequirementError
from focuscli.tools.gallery.lock import LOCK, only_writer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock")

HOLD = "import sys, pathlib; from focuscli.tools.gallery.lock import only_writer\n"
HOLD += "with only_writer(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_one_that_is_killed_is_not_in_the_way(tmp_path):
    folder = tmp_path / "a" / "g"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="Another focus index"), only_writer(folder):
            pass
        other.kill()
    assert (folder / LOCK).exists()
    with only_writer(folder):
        pass
    assert not [*folder.iterdir()]


def test_a_lock_that_its_holder_removes_meanwhile_is_not_taken(tmp_path, monkeypatch):
    """Or a third process, which makes the file anew, would hold it too."""
    opened, real = [], os.open

    def open_(path, *arguments):
        descriptor = real(path, *arguments)
        if not opened:
            os.unlink(path)
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr("focuscli.tools.gallery.lock.os.open", open_)
    with only_writer(tmp_path):
        assert len(opened) == 2
        monkeypatch.undo()
        with pytest.raises(InputError, match="Another focus index"), only_writer(tmp_path):
            pass


def test_without_locks_there_is_no_protection(tmp_path, monkeypatch):
    monkeypatch.setattr("focuscli.tools.gallery.lock.fcntl", None)
    with only_writer(tmp_path), only_writer(tmp_path):
        assert not (tmp_path / LOCK).exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequirementError, match=r"Cannot write .*file"), only_writer(tmp_path / "file" / "g"):
        pass
