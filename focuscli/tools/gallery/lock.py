"""One writer at a time in a gallery folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from focuscli.errors import InputError, RequirementError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".gallery.lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made where it is not there. The system lets go of it when the process dies, however it does.
    Without such locks (Windows, some network file systems) nothing is held.

    Raises:
        InputError: another process holds it. RequirementError: the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _take(file)
    except BlockingIOError as error:
        raise InputError(
            f"Another focus index is writing to {folder}; nothing was changed.",
            f"Wait for it, or stop it and go on: focus index SOURCE -o {folder} --resume",
        ) from error
    except OSError as error:
        raise RequirementError(
            f"Cannot write {file}: {error.strerror or error}.", "Choose a folder that you may write to, with -o."
        ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _take(file: Path) -> int:
    """The descriptor of the locked file."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # Whoever held it removed it in between.


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # The file system has no locks.
        return
