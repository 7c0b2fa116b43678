from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from focuscli.errors import InputError, RequirementError
from focuscli.storage import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.txt"
    with files.atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_what_breaks_while_writing_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_full_disk_at_any_step_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr(files.os, step, full_disk)
    with pytest.raises(RequirementError, match="No space left while writing") as caught:
        files.write_text(target, "new")
    assert str(target) in caught.value.problem
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_inside_the_block_is_reported_too(tmp_path: Path) -> None:
    with pytest.raises(RequirementError, match="No space left"), files.atomic_path(tmp_path / "a.txt"):
        full_disk()
    assert names(tmp_path) == []


def test_full_disk_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.tempfile, "mkstemp", full_disk)
    monkeypatch.setattr(files.tempfile, "mkdtemp", full_disk)
    with pytest.raises(RequirementError, match="No space left"):
        files.write_text(tmp_path / "a.txt", "new")
    with pytest.raises(RequirementError, match="No space left"), files.atomic_folder(tmp_path / "a", overwrite=False):
        pass
    assert names(tmp_path) == []


def test_parent_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequirementError, match="Cannot write"):
        files.write_text(tmp_path / "file" / "a.txt", "new")


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "x")
        with files.atomic_folder(tmp_path / "folder", overwrite=False):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with files.atomic_folder(target, overwrite=False) as temporary:
        (temporary / "a.txt").write_text("a")
        assert not target.exists()
    assert names(target) == ["a.txt"]
    assert names(target.parent) == ["folder"]


def test_existing_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("kept")
    with (
        pytest.raises(InputError, match="exists already") as caught,
        files.atomic_folder(tmp_path / "folder", overwrite=False),
    ):
        pytest.fail("the block must not run")
    assert "--force" in (caught.value.hint or "")
    assert names(tmp_path / "folder") == ["mine"]


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")
    with files.atomic_folder(target, overwrite=True) as temporary:
        (temporary / "new").write_text("")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_what_breaks_while_filling_leaves_the_old_folder(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")

    def fill() -> None:
        with files.atomic_folder(target, overwrite=True) as temporary:
            (temporary / "half").write_text("")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("failing", [1, 2])
def test_full_disk_while_swapping_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The first rename moves the old folder aside, the second moves the new one in."""
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")
    rename, calls = os.rename, []

    def sometimes(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            full_disk()
        rename(source, destination)

    monkeypatch.setattr(files.os, "rename", sometimes)
    with (
        pytest.raises(RequirementError, match="No space left"),
        files.atomic_folder(target, overwrite=True) as temporary,
    ):
        (temporary / "new").write_text("")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_json_is_written_as_readable_utf8(tmp_path: Path) -> None:
    value = {"phrase": "grüne Jacke 外套", "scores": [0.5, 1]}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "grüne Jacke 外套" in text
    assert text.endswith("\n")


def test_value_that_is_no_json_changes_nothing(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {1, 2})
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_files_around_the_block_size(tmp_path: Path, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    (tmp_path / "a").write_bytes(content)
    assert files.file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
