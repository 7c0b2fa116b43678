"""Command lines in a child process that may take only so much time and memory, and what became of them."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from focuscli.cli.main import app
from focuscli.data.readers import loadmat, mat

SECONDS = 20
PATIENCE = 6 * SECONDS  # on a busy machine: a process that waits for ever
MEMORY = 2**30  # bytes that a command may take beside what the process has already
MESSAGE = 12_000  # characters of the messages of a child that are kept: a pipe holds 64 KiB
OUTCOMES = ("accepted", "refused", "internal", "crash", "hang", "memory", "code run")
_REFUSED = (2, 3, 4, 5)
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect")

FOCUS = typer.main.get_command(app)
_loaded: dict[str, Any] = {}


def _load(context: Any, name: str) -> Any:
    """A command, built once: from its functions it takes longer than most mutants."""
    if name not in _loaded:
        _loaded[name] = type(FOCUS).get_command(FOCUS, context, name)
    return _loaded[name]


FOCUS.get_command = _load  # type: ignore[method-assign]


class Outcome(NamedTuple):
    """How a command ended, one of OUTCOMES, and its message or traceback."""

    kind: str
    detail: str

    @property
    def failed(self) -> bool:
        return self.kind not in ("accepted", "refused")


def focus(arguments: Sequence[str]) -> int:
    """Run `focus ARGUMENTS`; its message has a traceback."""
    return FOCUS.main([*arguments, "-v"], standalone_mode=False)


def run(*commands: Callable[[], int]) -> list[Outcome]:
    """Call functions that return an exit code, one after the other, in a forked child.

    There may be fewer outcomes than commands: the last one is of the command that ended the child.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _child(commands, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream, os.fdopen(os.pidfd_open(child), "rb", buffering=0) as watched:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        late = not poll.poll(1000 * PATIENCE)
        if late:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        told = stream.read().decode("utf-8", "replace").split("\0")[:-1]
    outcomes = [Outcome(*text.split("\n", 1)) for text in told]
    if late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        outcomes.append(Outcome("hang", f"more than {SECONDS} s"))
    elif os.WIFSIGNALED(status):
        outcomes.append(Outcome("crash", signal.Signals(os.WTERMSIG(status)).name))
    elif len(outcomes) < len(commands):
        outcomes.append(Outcome("crash", f"ended with exit code {os.waitstatus_to_exitcode(status)}"))
    return outcomes


def _child(commands: Sequence[Callable[[], int]], writer: int) -> None:
    """Never returns."""
    faulthandler.disable()  # pytest has turned it on: a crash is seen without its words
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ran: list[str] = []

    def refuse(event: str, details: tuple[object, ...]) -> None:
        if event in _FORBIDDEN:
            ran.append(f"{event} {details!r}"[:1000])
            raise PermissionError(event)

    sys.addaudithook(refuse)
    for command in commands:
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = command()
        message = said.getvalue()
        kind = "accepted" if code == 0 else "refused" if code in _REFUSED else "internal"
        if (kind == "internal" and "MemoryError" in message) or "Out of memory" in message:
            kind = "memory"
        if ran:
            kind, message = "code run", "\n".join(ran)
        message = message[-(MESSAGE // len(commands)) :].replace("\0", " ")
        os.write(writer, f"{kind}\n{message}\0".encode("utf-8", "replace"))
    os._exit(0)


def read_mat(path: Path) -> bytes:
    """What `focuscli.data.readers.mat` gets from another process, here from a fork: a new interpreter takes 0.4 s."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writer, "wb") as output:
            words = loadmat.main(str(path), mat.MEMORY, mat.SECONDS, output)
        os._exit(1 if words else 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        content = stream.read()
    if os.waitpid(child, 0)[1]:
        raise ValueError("the process that reads it failed")
    return content
