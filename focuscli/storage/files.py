"""Writing files so that a crash, a full disk or Ctrl-C never leaves half of one under its final name, and fingerprints: what
was made from a dataset or a model records one, to tell later whether it still belongs to it."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from focuscli.errors import InputError, RequirementError
from focuscli.storage.documents import read_json

ANY_NAME = "surrogateescape"
"""How results with file names are encoded: on Linux a name is bytes, and those that are not UTF-8 stay as they are."""
LOCK = ".lock"
"""The file in a folder whose lock its only writer holds."""
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.(?:tmp|old)")
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device"}


def kind_of(path: Path | str) -> str:
    """The kind of what is at a path, links followed: "file", "folder", "pipe", "device", "special file", or "" for nothing.

    Raises:
        OSError: that cannot be said, for lack of permission or because the name is too long.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "special file")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def check_free(path: Path, *, force: bool, folder: bool = False, hint: str = "Add --force to replace it.") -> None:
    """Check that an output may be written, before any work for it is done.

    Args:
        path: the file, or with `folder` the folder, that will be written.
        force: whether an existing one may be replaced.
        hint: what to do if it exists.

    Pipes and devices such as /dev/stdout are written to, not replaced: that needs no `force`.

    Raises:
        InputError: it exists and `force` is false, or a folder stands where the file should go (or the reverse).
        RequirementError: its folder cannot be written.
    """
    with write_errors(path):
        there = kind_of(path)
        streamed = not folder and _is_stream(path)
        place = path if there == "folder" else next(parent for parent in path.absolute().parents if kind_of(parent))
        if kind_of(place) != "folder":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not streamed and not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if not there or streamed:
        return
    if there != ("folder" if folder else "file"):
        wanted = "folder" if folder else "file"
        raise InputError(f"{path} is a {there}; nothing was changed.", f"Name a {wanted} to write to.")
    if not force:
        raise InputError(f"{path} exists already; nothing was changed.", hint)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`, else remove it.

    What is complete is copied into a pipe or a device; none is ever replaced by a file.

    Raises:
        InputError: no file can have that name. RequirementError: the disk is full or the folder cannot be written; `path` is
        as it was before.
    """
    with write_errors(path):
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / "output"
                # Of an own descriptor a copy, because its position in a file counts.
                own = _descriptor(path)
                stream = os.open(path, os.O_WRONLY) if own is None else os.dup(own)
                with open(Path(folder) / "output", "rb") as source, open(stream, "wb") as target:
                    shutil.copyfileobj(source, target)
            return
        with temporary_beside(path) as temporary:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)


@contextlib.contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, else it is removed.

    On Linux the two change places in one step, so that at every moment one of them is there. Where the system or the file
    system cannot do that, there is none for a moment.

    Raises:
        InputError: `path` exists and `overwrite` is false, or `path` is a file.
        RequirementError: the disk is full or the parent folder cannot be written.
    """
    check_free(path, force=overwrite, folder=True)
    with write_errors(path), temporary_beside(path, folder=True) as temporary:
        yield temporary
        if not path.exists():
            os.rename(temporary, path)
        elif not _exchange(temporary, path):
            replaced = temporary.with_suffix(".old")
            try:
                os.rename(path, replaced)
                os.rename(temporary, path)
            finally:
                if replaced.exists() and not path.exists():
                    os.rename(replaced, path)
                shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def temporary_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a new empty file or folder beside `path` and remove it at the end; also those that killed processes have left.

    It is locked as long as this process lives, so that no other one takes it for such a leftover.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = _short(path.name)
    remove_leftovers(path.parent, name)
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    if folder:
        temporary.mkdir()
    else:
        temporary.touch()
    lock = _lock(temporary)
    try:
        yield temporary
    finally:
        if lock is not None:
            os.close(lock)
        _remove(temporary)


def is_leftover(path: Path) -> bool:
    """Whether a path is a lock or a temporary file, by its name; a folder of nothing else counts as empty."""
    return path.name == LOCK or _TEMPORARY.fullmatch(path.name) is not None


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what killed processes have left in a folder when they wrote `name` there, by default anything."""
    for path in folder.glob(f".{glob.escape(name)}*"):
        target = path.with_name(path.name[1:-13] or "-")
        if _TEMPORARY.fullmatch(path.name) and name in ("", target.name) and (lock := _lock(path)) is not None:
            os.close(lock)
            if path.suffix == ".old" and not target.exists():
                os.rename(path, target)  # killed between the two renames of `atomic_folder`
            _remove(path)


def remove_empty(folder: Path) -> None:
    """Remove a folder that was made for its writer if nothing has been written to it."""
    if [file.name for file in folder.glob("*")] == [LOCK]:
        shutil.rmtree(folder, ignore_errors=True)


def only_writer(folder: Path, problem: str, hint: str) -> AbstractContextManager[object]:
    """Make the folder if necessary, and hold its lock. The system releases it when the process ends, however it does.

    Raises:
        InputError: another process holds it; `problem` and `hint` say what that means. RequirementError: the folder cannot
        be written.
    """
    import filelock

    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return filelock.FileLock(folder / LOCK, timeout=0).acquire()
        except filelock.Timeout as error:
            raise InputError(problem, hint) from error
        except NotImplementedError:  # a file system without locks
            return nullcontext()


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block, which writes `path`, into an InputError or a RequirementError with advice."""
    try:
        yield
    except OSError as error:
        problem = f"Cannot write {path}: {error.strerror or error}. What was there before is unchanged."
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.EINVAL):
            raise InputError(problem, "Choose another name to write to.") from error
        hint = "choose a folder that you may write to: set FOCUS_HOME or give an output path."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise RequirementError(problem, f"C{hint[1:]}") from error
        raise RequirementError(problem, f"Free some space, or {hint}") from error


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write `text` as UTF-8, atomically; `errors` as for `str.encode`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, to_json(value, indent=1) + "\n")


def to_json(value: Any, *, indent: int | None = None, ascii: bool = False) -> str:
    """`value` as JSON with non-ASCII letters as they are, or escaped if `ascii`, or a file name in it is not UTF-8."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    return json.dumps(value, indent=indent) if _NOT_UTF8.search(text) else text


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def checkpoint_fingerprint(folder: Path) -> str:
    """The fingerprint of all that determines a checkpoint's scores and answers: the model's tensors, its shape and texts,
    and the thresholds.

    Raises:
        InputError: there is no checkpoint in the folder, or it is damaged.
    """
    state = read_json(folder / "state.json")
    try:
        config, tensors = state["config"], file_sha256(model_file(folder, state))
        answers = [config["model"], config["data"]["complements"], state["schema"], state["thresholds"]]
        return fingerprint([tensors, *answers])
    except (OSError, KeyError, TypeError) as error:
        raise InputError(f"Checkpoint {folder} is damaged: {error!r}.") from error


def model_file(folder: Path, state: Any) -> Path:
    """The file of a checkpoint's model; `state` is the content of its state.json.

    Raises:
        InputError: it names no file of the folder.
    """
    try:
        name = state["files"]["model"]
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not the name of a file in it")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"Checkpoint {folder} is damaged: state.json: {error!r}.") from error
    return folder / str(name)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a character device, or stands for an open descriptor, whatever that leads to."""
    return _descriptor(path) is not None or kind_of(path) in ("pipe", "device")


def _descriptor(path: Path) -> int | None:
    """The own descriptor that /dev/stdout, /dev/stderr or /dev/fd/N stands for."""
    if path.name.isdecimal() and os.path.realpath(path.parent) == os.path.realpath("/dev/fd"):
        return int(path.name)
    return {"/dev/stdout": 1, "/dev/stderr": 2}.get(str(path))


def _short(name: str) -> str:
    # A file's name may be as long as the file system allows, which leaves no room for more.
    return name if len(os.fsencode(name)) < 200 else name[:40]


def _exchange(first: Path, second: Path) -> bool:
    """Swap two paths in one step; False, and nothing has happened, where that is not possible."""
    import ctypes

    try:
        rename = ctypes.CDLL(None).renameat2  # of Linux; Python has no function for it
    except (OSError, TypeError, AttributeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(first), here, os.fsencode(second), swap) == 0)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the system's lock on a file or folder; None where another process has it, or none can be had."""
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
