"""What the terminal shows: data on stdout, everything else on stderr; the only importer of rich.

Rich is loaded where a terminal gets colours, a bar or a table: it takes longer to import than the rest of the command line.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from focuscli.storage.files import ANY_NAME, to_json

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_SECONDS = 10.0
_settings = {"json": False, "quiet": False, "verbose": False}
"""The global options of one invocation."""


def reset() -> None:
    """Begin an invocation: no global option is set, and file names that are not UTF-8 pass through stdin and stdout."""
    _settings.update(dict.fromkeys(_settings, False))
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=ANY_NAME)


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
        print(text, file=sys.stderr)


def warn(text: str) -> None:
    """A line that a reader of the results must see, also with --quiet."""
    _styled(f"! {text}", "yellow")


def result(data: Any, *, lines: Sequence[str]) -> None:
    """The outcome of a command: one JSON object on stdout with --json, else lines on stdout."""
    if as_json():
        print(to_json(data))
    else:
        for line in lines:
            print(line)


def error(code: int, problem: str, hint: str | None, data: Mapping[str, Any]) -> None:
    """An error and its hint in two lines on stderr; with --json one object on stdout, which also holds `data`."""
    if as_json():
        print(to_json({**data, "error": {"code": code, "message": problem, "hint": hint}}))
    else:
        _styled(f"error: {problem}", "bold red")
        if hint:
            print(f"hint:  {hint}", file=sys.stderr)


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
        grid.add_row(*row)
    out = Console(highlight=False, markup=False, emoji=False)  # square brackets in a user's own words are words
    if not out.is_terminal:
        out.width = max(out.width, 160)
    out.print(grid)


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

    def line(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            last = time.monotonic()
            print(f"  {label} {done:,}/{total:,}", file=sys.stderr, flush=True)

    yield line


def is_live() -> bool:
    """Whether stderr is a terminal, or is said to be one."""
    return bool(os.environ.get("FORCE_COLOR")) or sys.stderr.isatty()


def _styled(text: str, style: str) -> None:
    if is_live():
        _console().print(text, style=style)
    else:
        print(text, file=sys.stderr)
