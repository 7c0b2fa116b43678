"""Writing files so that a crash, a full disk or Ctrl-C never leaves half of one under its final name, and fingerprints: what
was made from a dataset or a model records one, to tell later whether it still belongs to it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from focuscli.errors import InputError, RequirementError
from focuscli.storage.documents import read_json

ANY_NAME = "surrogateescape"
"""How results with file names are encoded: on Linux a name is bytes, and those that are not UTF-8 stay as they are."""
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device"}


def kind_of(path: Path | str) -> str:
    """What stands at a path, links followed: "file", "folder", "pipe", "device", "special file", or "" for nothing.

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
    """
    with write_errors(path):
        there = kind_of(path)
        streamed = not folder and _is_stream(path)
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
                with open(Path(folder) / "output", "rb") as source, open(_open_stream(path), "wb") as target:
                    shutil.copyfileobj(source, target)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.touch()
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, else it is removed.

    Raises:
        InputError: `path` exists and `overwrite` is false, or `path` is a file.
        RequirementError: the disk is full or the parent folder cannot be written.
    """
    check_free(path, force=overwrite, folder=True)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        replaced = temporary.with_suffix(".old")
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                os.rename(path, replaced)
            os.rename(temporary, path)
        finally:
            if replaced.exists() and not path.exists():
                os.rename(replaced, path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block, which writes `path`, into an InputError or a RequirementError with advice."""
    try:
        yield
    except OSError as error:
        problem = f"Cannot write {path}: {error.strerror or error}. What was there before is unchanged."
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.EINVAL):
            raise InputError(problem, "Choose another name to write to.") from error
        raise RequirementError(
            problem,
            "Free some space, or choose a folder that you may write to: set FOCUS_HOME or give an output path.",
        ) from error


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
    return str(path) in _STANDARD or _descriptor(path) is not None or kind_of(path) in ("pipe", "device")


def _descriptor(path: Path) -> int | None:
    """N of /dev/fd/N."""
    own = os.path.realpath(path.parent) == os.path.realpath("/dev/fd") and path.name.isdecimal()
    return int(path.name) if own else None


def _open_stream(path: Path) -> int:
    """A descriptor to write to; of an own one a copy, because its position in a file counts."""
    own = _STANDARD.get(str(path), _descriptor(path))
    return os.open(path, os.O_WRONLY) if own is None else os.dup(own)


def _beside(path: Path) -> Path:
    # A file's name may be as long as the file system allows, which leaves no room for more.
    name = path.name if len(os.fsencode(path.name)) < 200 else path.name[:40]
    return path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
