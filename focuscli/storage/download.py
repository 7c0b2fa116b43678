"""Downloading one file over HTTP, continuing where an earlier attempt stopped."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from focuscli.errors import InputError, RequirementError
from focuscli.storage.files import write_errors

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes in all (None if the server does not say)."""

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Complete the file `part` with the content of `url`, from what it holds already.

    Asks for the rest by HTTP Range. A server without ranges sends everything, and the file starts again.

    Raises:
        InputError: `url` is malformed.
        RequirementError: no connection, a refusal by the server, an interrupted transfer, a full disk. What has arrived
            stays in `part`.
    """
    with write_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    start = part.stat().st_size if part.exists() else 0
    try:
        _transfer(url, part, start, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise RequirementError(
                f"{url} cannot be downloaded: the server answers {error.code} {error.reason}.",
                "Check the address; or download the file in another way and run: focus prepare weights PATH",
            ) from error
        if error.headers.get("Content-Range") != f"bytes */{start}":  # Not complete, but longer than the file.
            part.unlink()
            download(url, part, progress)
    except (http.client.InvalidURL, ValueError) as error:
        raise InputError(
            f"{url} is not a usable address: {error}.", "Use an address such as https://HOST/FILE"
        ) from error
    except (http.client.HTTPException, OSError) as error:
        interrupted = isinstance(error, http.client.IncompleteRead)
        cause = getattr(error, "reason", None) or str(error) or type(error).__name__
        size = part.stat().st_size if part.exists() else 0
        raise RequirementError(
            f"The download of {url} failed: {'the connection broke off' if interrupted else cause}. "
            + (f"{size:,} bytes are kept in {part}." if size else "Nothing has arrived."),
            "Run the same command again: it continues from there.",
        ) from error


def _transfer(url: str, part: Path, start: int, progress: Progress | None) -> None:
    headers = {"User-Agent": "focus", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        if total is not None and total - start > shutil.disk_usage(part.parent).free:
            raise RequirementError(
                f"{url} needs {(total - start) >> 20:,} MiB, more than is free in {part.parent}.",
                "Free some space, or set FOCUS_HOME to another disk.",
            )
        received = start
        with write_errors(part):
            file = part.open("ab" if start else "wb", buffering=0)
        with file:
            while block := response.read(_BLOCK):
                rest = memoryview(block)
                with write_errors(part):
                    while rest:  # An unbuffered write may take only a part.
                        rest = rest[file.write(rest) :]
                received += len(block)
                if progress is not None:
                    progress(received, total)
    if total is not None and received < total:
        raise http.client.IncompleteRead(b"", total - received)
