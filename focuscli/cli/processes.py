"""Commands under torchrun: the main process prints; torchrun's report shows what went wrong in another one."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Collection, Iterator, Sequence

from focuscli.engine.distributed import SINGLE, ProcessGroup, join, leave, read_environment
from focuscli.errors import FocusError, UsageError

SHARED = ("train", "eval", "predict", "index", "search")
"""Commands that several processes share; the others run in one."""


def started_group() -> ProcessGroup:
    """The group that torchrun has started, or SINGLE where its variables are wrong: then all processes say so."""
    try:
        return read_environment()
    except UsageError:
        return SINGLE


def program() -> str:
    """How this process was started, for commands to paste."""
    return "focus" if started_group().world_size == 1 else "torchrun ... -m focuscli"


def command_line(words: Sequence[str], files: Collection[str]) -> str:
    """A command to paste, started as this process was; `files` that exist become absolute, so that it survives a cd."""
    lasting = (os.path.abspath(word) if word in files and os.path.exists(word) else word for word in words)
    return f"{program()} {shlex.join(lasting)}"


def check_command(name: str | None) -> None:
    """Refuse to run a command in several processes that is for one: they would write the same files."""
    size = started_group().world_size
    if name is not None and name not in SHARED and size > 1:
        raise UsageError(
            f"focus {name} runs in one process, and torchrun has started {size}.",
            f"Start it without torchrun: focus {name} ... Commands that share their work: {', '.join(SHARED)}.",
        )


@contextlib.contextmanager
def only_main_prints() -> Iterator[None]:
    """Discard what this process prints, unless it is the main one."""
    if started_group().is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def record_failure(failure: BaseException) -> None:
    """Record a failure for torchrun's report; without torchrun print that of a process that does not print otherwise."""
    group = started_group()
    if group.world_size == 1 or not isinstance(failure, Exception):  # Ctrl-C, or SIGTERM because another one has failed
        return
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        try:  # it records the traceback of what is being handled; a FocusError's message is enough
            raise failure.with_traceback(None) if isinstance(failure, FocusError) else failure
        except Exception as error:
            get_error_handler().record_exception(error)
    elif not group.is_main:
        print(f"worker {group.rank} of {group.world_size}: {failure}", file=sys.__stderr__)


@contextlib.contextmanager
def together() -> Iterator[ProcessGroup]:
    """Connect to the other processes of a command and yield the group. Without torchrun: a group of one.

    Raises:
        UsageError: torchrun's variables contradict each other. WorkerLost: the others cannot be reached.
        KeyboardInterrupt: torchrun ends this process, because another one has failed.
    """
    process_group = read_environment()
    if process_group.world_size == 1:
        yield process_group
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        join(process_group)
        atexit.register(leave)  # after the message of a failure: closing broken connections may take long
        yield process_group
        process_group.any(False)
    finally:
        signal.signal(signal.SIGTERM, before)
