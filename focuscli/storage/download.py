"""Downloading one file over HTTP, going on where an earlier attempt broke off."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from focuscli.errors import InputError, RequirementError

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where the server does not say)."""

_BLOCK = 1 << 20
_TIMEOUT = 30.0
_AGAIN = "Run the same command again: it goes on from there."


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Bring `part` to the complete content of `url`, from whatever is in it already.

    Asks for the rest by HTTP Range; a server that knows no ranges sends everything, and the file starts anew.

    Raises:
        InputError: `url` is malformed.
        RequirementError: no connection, a refusal by the server, a transfer that broke off, a full disk. What has
            arrived stays in `part`.
    """
    with _writing(part):
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
        if _total(error.headers.get("Content-Range")) == start:
            return  # Nothing is left to send.
        part.unlink()
        download(url, part, progress)
    except (http.client.InvalidURL, ValueError) as error:
        raise InputError(f"{url} is no usable address: {error}.", "It looks like https://HOST/FOLDER/FILE") from error
    except (http.client.HTTPException, OSError) as error:
        broke_off = isinstance(error, http.client.IncompleteRead)
        reason = "it broke off" if broke_off else getattr(error, "reason", None) or str(error) or type(error).__name__
        raise RequirementError(f"The download of {url} failed: {reason}. {_kept(part)}", _AGAIN) from error


def _transfer(url: str, part: Path, start: int, progress: Progress | None) -> None:
    headers = {"User-Agent": "focus", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
        sent_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
        if response.status != 206 or sent_range is None or int(sent_range[1]) != start:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        if total is not None and total - start > shutil.disk_usage(part.parent).free:
            raise RequirementError(
                f"{url} needs {(total - start) >> 20:,} MiB, more than is free in {part.parent}.",
                "Free some space, or set FOCUS_HOME to another disk.",
            )
        done = start
        with _writing(part):
            file = part.open("ab" if start else "wb", buffering=0)
        with file:
            while block := response.read(_BLOCK):
                rest = memoryview(block)
                with _writing(part):
                    while rest:  # An unbuffered write may take only a part.
                        rest = rest[file.write(rest) :]
                done += len(block)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Tells a full or forbidden disk from a broken connection: both are OSError."""
    try:
        yield
    except OSError as error:
        raise RequirementError(
            f"Cannot write {part}: {error.strerror or error}.", "Free some space, or set FOCUS_HOME to another disk."
        ) from error


def _total(content_range: str | None) -> int | None:
    """The full size in the answer to a range that cannot be served: `bytes */1234`."""
    found = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(found[1]) if found else None


def _kept(part: Path) -> str:
    size = part.stat().st_size if part.exists() else 0
    return f"{size:,} bytes are kept in {part}." if size else "Nothing has arrived."
