"""Files are complete or not there, nothing is replaced without force; optional packages that are missing or broken."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from focuscli.errors import InputError, RequirementError
from focuscli.storage import files
from focuscli.storage.extras import require_extra


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("old")
    return tmp_path / "a.txt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("")
    return tmp_path / "folder"


def test_files_and_folders_appear_only_when_complete(tmp_path: Path) -> None:
    target, folder = tmp_path / "deep" / "er" / "a.txt", tmp_path / "deep" / "folder"
    with files.atomic_path(target) as temporary, files.atomic_folder(folder, overwrite=False) as half:
        temporary.write_text("new")
        (half / "b.txt").write_text("b")
        assert temporary.parent == target.parent
        assert not target.exists()
        assert not folder.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["a.txt"]
    assert names(folder) == ["b.txt"]
    assert names(folder.parent) == ["er", "folder"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_while_writing_leaves_the_old_content(file: Path, folder: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), files.atomic_path(file) as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(type(error)), files.atomic_folder(folder, overwrite=True) as temporary:
        (temporary / "half").write_text("")
        raise error
    assert file.read_text() == "old"
    assert names(folder) == ["old"]
    assert names(file.parent) == ["a.txt", "folder"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(files.os, step, full_disk)
    with pytest.raises(RequirementError, match="No space left on device") as caught, files.atomic_path(file):
        pass
    assert str(file) in caught.value.problem
    assert file.read_text() == "old"
    assert names(file.parent) == ["a.txt"]


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_an_error_while_swapping_brings_the_old_folder_back(folder, monkeypatch, failing, error) -> None:
    """Where folders cannot change places: the first rename moves the old one aside, the second moves the new one in."""
    rename, calls = os.rename, []

    def sometimes(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise error
        rename(source, destination)

    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    monkeypatch.setattr(files.os, "rename", sometimes)
    with pytest.raises((RequirementError, KeyboardInterrupt)), files.atomic_folder(folder, overwrite=True) as temporary:
        (temporary / "new").write_text("")
        assert names(folder) == ["old"]
    assert names(folder) == ["old"]
    monkeypatch.undo()
    with files.atomic_folder(folder, overwrite=True) as temporary:
        (temporary / "new").write_text("")
    assert names(folder) == ["new"]
    assert names(folder.parent) == ["folder"]


KILLED = """
import os, signal, sys
from pathlib import Path
from focuscli.storage import files

file, folder = map(Path, sys.argv[1:3])
with files.atomic_path(file) as half, files.atomic_folder(folder, overwrite=True) as half_folder:
    half.write_text("half")
    (half_folder / "half").touch()
    if sys.argv[3:]:  # between the two renames where folders cannot change places
        os.rename(folder, half_folder.with_suffix(".old"))
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("moved", [[], ["moved"]])
def test_what_a_killed_process_leaves_is_removed_by_the_next_one(file: Path, folder: Path, moved: list[str]) -> None:
    """And not before the process has gone."""
    line = [sys.executable, "-c", KILLED, str(file), str(folder), *moved]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        before = names(file.parent)
        assert len(before) == 4
        if not moved:
            files.remove_leftovers(file.parent)
            assert names(file.parent) == before
        process.kill()
    (file.parent / ".a.txt.mine.tmp").touch()
    with files.atomic_folder(folder, overwrite=True) as temporary:
        assert names(folder) == ["old"]
        (temporary / "new").touch()
    files.write_text(file, "new")
    assert names(file.parent) == [".a.txt.mine.tmp", "a.txt", "folder"]
    assert (names(folder), file.read_text()) == (["new"], "new")


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    for _ in range(2):
        with files.only_writer(tmp_path / "new", "Taken.", "Wait."):
            with pytest.raises(InputError, match="Taken"), files.only_writer(tmp_path / "new", "Taken.", "Wait."):
                pytest.fail("the block must not run")
            assert all(map(files.is_leftover, (tmp_path / "new").iterdir()))


def test_what_exists_is_refused(file: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder exists already"), files.atomic_folder(folder, overwrite=False):
        pytest.fail("the block must not run")
    for path, force, as_folder, words in (
        (file, False, False, r"exists already; nothing was changed(.|\n)*--force"),
        (folder, True, False, "is a folder; nothing was changed"),
        (file, True, True, "is a file; nothing was changed"),
    ):
        with pytest.raises(InputError, match=words):
            files.check_free(path, force=force, folder=as_folder)
    files.check_free(tmp_path / "new", force=False)
    files.check_free(file, force=True)
    files.check_free(folder, force=True, folder=True)


def test_pipes_and_devices_are_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe, long = tmp_path / "pipe", tmp_path / ("a" * 250)
    os.mkfifo(pipe)
    files.check_free(pipe, force=False)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(pipe, "rows")
    assert os.read(reader, 99) == b"rows"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    files.write_text(long, "rows")  # as long as a name can be
    assert names(tmp_path) == [long.name, "pipe"]
    with open(tmp_path / "log", "w+") as log:
        log.write("before ")
        log.flush()
        files.write_text(Path(f"/dev/fd/{log.fileno()}"), "rows")
        os.write(log.fileno(), b" after")
        assert (tmp_path / "log").read_text() == "before rows after"
    with pytest.raises(InputError, match="too long"):
        files.check_free(tmp_path / ("a" * 300), force=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_an_error_and_stays_a_device() -> None:
    with pytest.raises(RequirementError, match="No space left"):
        files.write_text(Path("/dev/full"), "rows")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_folder_without_permission_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: path != tmp_path)
    for path, folder in ((tmp_path / "a.csv", False), (tmp_path / "new" / "deep", True)):
        with pytest.raises(RequirementError, match=r"Permission denied(.|\n)*Choose a folder that you may write to"):
            files.check_free(path, force=True, folder=folder)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Not a directory"):
        files.check_free(tmp_path / "file" / "a.csv", force=True)


def test_json_is_readable_utf8_and_keeps_names_that_are_not(tmp_path: Path) -> None:
    value = {"phrase": "grüne Jacke 外套", "scores": [0.5, 1]}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "grüne Jacke 外套" in text
    value = {"image": os.fsdecode(b"caf\xe9.png"), "phrase": "外套"}
    assert files.to_json(value).isascii()
    assert json.loads(files.to_json(value, indent=1)) == value


def test_a_checkpoint_by_what_determines_its_answers(tmp_path: Path) -> None:
    config = {"model": {"tokens": 4}, "data": {"complements": True}, "train": {"seed": 0}}
    state = {"files": {"model": "m"}, "config": config, "schema": {"name": "a"}, "thresholds": [0.5], "epoch": 3}

    def found(tensors: bytes = b"tensors", **changes: object) -> str:
        (tmp_path / "m").write_bytes(tensors)
        (tmp_path / "state.json").write_text(json.dumps(dict(sorted({**state, **changes}.items()))))
        return files.checkpoint_fingerprint(tmp_path)

    first = found()
    assert first == found(epoch=4, config={**config, "train": {"seed": 1}})
    others = [found(b"other"), found(schema={"name": "b"}), found(thresholds=[0.4])]
    others += [found(config={**config, **part}) for part in ({"model": {}}, {"data": {"complements": False}})]
    assert len({first, *others}) == 6
    (tmp_path / "m").unlink()
    with pytest.raises(InputError, match="damaged"):
        files.checkpoint_fingerprint(tmp_path)


def test_extras(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_package.py").write_text("raise OSError('libfoo.so.1:\\n  cannot open')")
    require_extra("onnx", "json", purpose="This")
    with pytest.raises(RequirementError, match=r"not installed: missing_a, missing_b\.") as caught:
        require_extra("onnx", "json", "missing_a", "missing_b", purpose="This")
    assert "pip install 'focus-par[onnx]'" in (caught.value.hint or "")
    with pytest.raises(RequirementError, match=r"does not load \(OSError: libfoo\.so\.1: cannot open\)"):
        require_extra("onnx", "broken_package", purpose="This")
