"""Commands under torchrun: the processes meet, one of them speaks, and one reports what went wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from focuscli.cli import render
from focuscli.cli.errors import describe, report
from focuscli.engine.torchrun import ALONE, Worker, read_worker
from focuscli.errors import FocusError, Interrupted, UsageError

if TYPE_CHECKING:
    from focuscli.engine.distributed import ProcessGroup

SHARED = ("train", "eval", "predict", "index", "search")
"""Commands that several processes share; the others run in one."""
GRACE_SECONDS = 3.0
"""How long a worker that fails leaves the word to the first one; torchrun ends it sooner where that one has ended."""
SAYING_SECONDS = 20.0
"""How long the others wait for the one that speaks, which may be saving a checkpoint; torchrun kills all after 30."""


def voice() -> Worker:
    """The worker that this process is, or ALONE where the environment makes no sense: then all complain."""
    try:
        return read_worker()
    except UsageError:
        return ALONE


def check_command(name: str | None) -> None:
    """Refuse to run a command in several processes that is for one.

    Raises:
        UsageError: it would do the same work several times, into the same files.
    """
    size = voice().size
    if name is not None and name not in SHARED and size > 1:
        raise UsageError(
            f"focus {name} runs in one process, and torchrun has started {size}.",
            f"Start it without torchrun: focus {name} ... Commands that share their work: {', '.join(SHARED)}.",
        )


@contextlib.contextmanager
def quiet_but_first() -> Iterator[None]:
    """Nothing that this process prints is seen, unless it is the first one."""
    if voice().is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def let_first_speak() -> None:
    """Before a worker ends with an error that all have, such as a wrong option: torchrun ends all workers when one ends, and
    the first one may not have said why yet."""
    if not voice().is_main:
        time.sleep(GRACE_SECONDS)


@contextlib.contextmanager
def together() -> Iterator[ProcessGroup]:
    """Meet the other workers, yield the group, and part. Without torchrun: a group of one.

    What ends the work early is reported by one worker only, but where they cannot meet, by each.

    Raises:
        UsageError: torchrun's variables contradict each other.
    """
    worker = read_worker()
    from focuscli.engine.distributed import ProcessGroup
    from focuscli.engine.rendezvous import join

    if worker.size == 1:
        yield ProcessGroup(worker)
        return
    try:
        process_group = join(worker)
    except FocusError as failure:
        with _heard():
            code = report(failure)
        raise typer.Exit(code) from failure
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield process_group
        process_group.barrier()
    except BaseException as failure:
        # torchrun now ends all workers with SIGTERM; the one that speaks needs a moment to do so.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        code = _report_once(failure, process_group)
        process_group.settle()
        raise typer.Exit(code) from failure
    finally:
        signal.signal(signal.SIGTERM, before)
        process_group.leave()


def _report_once(failure: BaseException, process_group: ProcessGroup) -> int:
    """Report a failure unless another worker does, and return the exit code.

    Mostly all fail alike, or lose their connections because one failed: so the first worker has the word, unless it has
    nothing to say.
    """
    from focuscli.engine.distributed import WorkerLost

    if isinstance(failure, _Terminated):
        failure = Interrupted(
            "torchrun has ended this job: another worker failed, or torchrun itself was told to stop.",
            "Its own report names the cause.",
        )
    own = not process_group.is_main and not isinstance(failure, WorkerLost)
    if own:
        process_group.heard(GRACE_SECONDS, "speaker")
    if not process_group.speaks():
        code = process_group.heard(SAYING_SECONDS)
        return describe(failure)[0] if code is None else code
    with _heard():
        if own and describe(failure)[1]:
            render.note(f"worker {process_group.rank} of {process_group.world_size} on {socket.gethostname()}:")
        code = report(failure)
    process_group.said(code)
    return code


def end_at_once(code: object) -> None:
    """End a process of several without the interpreter's own way out.

    DistributedDataParallel leaves threads of its connections behind (torch 2.14), which now and then abort a process that has
    done all its work.
    """
    if voice().size > 1:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """What a worker that is not the first prints inside is seen."""
    if voice().is_main:
        yield
        return
    with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
        yield


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; as Ctrl-C it passes every `except Exception`."""


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated
