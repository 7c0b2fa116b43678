"""What the terminal shows: data on stdout, everything else on stderr; the only importer of rich.

Rich is loaded where a terminal gets colours, a bar or a table: it takes longer to import than the rest of the command line.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from focuscli.storage.files import ANY_NAME, to_json

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_SECONDS = 10.0
_settings = {"json": False, "quiet": False, "verbose": False}
"""The global options of one invocation."""
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it, or turns the direction of text around."""


def _escape_letter(error: UnicodeError) -> tuple[str | bytes, int]:
    """For letters that a stream's encoding lacks: JSON's escapes. The bytes of a file name that is not UTF-8 stay."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    name = "\udc80" <= letter <= "\udcff"
    return (bytes([ord(letter) - 0xDC00]) if name else to_json(letter, ascii=True)[1:-1]), error.start + 1


codecs.register_error("escape-letter", _escape_letter)


def open_streams() -> None:
    """Fill the place of standard streams that are closed (>&-), so that no other file gets their numbers.

    Then stdin is empty, writing to stdout is an error, and stderr is lost.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def reset() -> None:
    """Begin an invocation: no global option is set, and stdin and stdout take any text, whatever their encoding."""
    _settings.update(dict.fromkeys(_settings, False))
    for stream, errors in ((sys.stdin, ANY_NAME), (sys.stdout, "escape-letter")):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", ANY_NAME} - {errors}:
            stream.reconfigure(errors=errors)


def stdin() -> BinaryIO:
    """The bytes of stdin, also where a program has put text in its place."""
    found: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    return found or io.BytesIO(sys.stdin.read().encode("utf-8", ANY_NAME))


def plain(text: str) -> str:
    """One line of text for people: control characters of file names and phrases become \\x1b and the like."""
    return _CONTROL.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\xff" else f"\\u{ord(found[0]):04x}", text
    )


def line(text: str = "") -> None:
    """A line of a command's result."""
    print(plain(text).rstrip())


class DataStream(io.TextIOBase):
    """Stdout for a writer of rows for programs: as they are, but what a terminal would obey is escaped on one."""

    def write(self, text: str) -> int:
        return sys.stdout.write("\n".join(map(plain, text.split("\n"))) if sys.stdout.isatty() else text)

    def flush(self) -> None:
        sys.stdout.flush()


def _json(value: Any) -> str:
    """JSON that every reader of stdout understands, whatever its encoding."""
    return to_json(value, ascii=(sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8")


def configure(**options: bool) -> None:
    """Turn global options on: json, quiet, verbose."""
    for name, value in options.items():
        _settings[name] |= value


def as_json() -> bool:
    return _settings["json"]


def is_verbose() -> bool:
    return _settings["verbose"]


def _console() -> Console:
    """A console on stderr, built anew so that it writes to the current stream."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for the person at the terminal."""
    if not _settings["quiet"]:
        print(plain(text), file=sys.stderr)


def warn(text: str) -> None:
    """A line that a reader of the results must see, also with --quiet."""
    _styled(f"! {text}", "yellow")


def result(data: Any, *, lines: Sequence[str] = ()) -> None:
    """The outcome of a command: one JSON object on stdout with --json, else lines on stdout."""
    if as_json():
        print(_json(data))
    else:
        for text in lines:
            line(text)


def error(code: int, problem: str, hint: str | None, data: Mapping[str, Any]) -> None:
    """An error and its hint in two lines on stderr; with --json one object on stdout, which also holds `data`."""
    if as_json():
        print(_json({**data, "error": {"code": code, "message": problem, "hint": hint}}))
    else:
        _styled(f"error: {problem}", "bold red")
        if hint:
            print(plain(f"hint:  {hint}"), file=sys.stderr)


def percent(value: float | None) -> str:
    """A fraction as percent with two digits; a dash where undefined."""
    return "-" if value is None or value != value else f"{100 * value:.2f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """A plain table on stdout; columns whose positions are in `numbers` are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        grid.add_column(name, justify="right" if position in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(plain, row))
    out = Console(highlight=False, markup=False, emoji=False)  # square brackets in a user's own words are words
    if not out.is_terminal:
        out.width = max(out.width, 160)
    with out.capture() as printed:
        out.print(grid)
    print("\n".join(text.rstrip() for text in printed.get().splitlines()))


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to be called with (done, total): a bar on a terminal, else a line every ten seconds."""
    if _settings["quiet"]:
        yield lambda done, total: None
        return
    if is_live():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        out = _console()
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=out, transient=True) as bars:
            task = bars.add_task(label, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
        return
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            last = time.monotonic()
            print(f"  {label} {done:,}/{total:,}", file=sys.stderr, flush=True)

    yield tell


def is_live() -> bool:
    """Whether stderr is a terminal, or is said to be one."""
    return bool(os.environ.get("FORCE_COLOR")) or sys.stderr.isatty()


def _styled(text: str, style: str) -> None:
    text = plain(text)
    if is_live():
        _console().print(text, style=style)
    else:
        print(text, file=sys.stderr)
