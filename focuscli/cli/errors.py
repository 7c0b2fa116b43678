"""What every exception means to the user: one message and one exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback

import typer

from focuscli.cli import processes, render
from focuscli.errors import FocusError

EXIT_CODES = {
    0: "done",
    1: "internal error: a bug in focus",
    2: "wrong usage: an option, a setting or its value",
    3: "an input is not found or not valid: image, dataset, schema, checkpoint, weights",
    4: "something is missing: weights, a package, a device, memory, disk space",
    5: "the command ran, and a check failed",
    130: "interrupted; what could be saved is saved",
}


def report(failure: BaseException) -> int:
    """Print the message of an exception, if it has one, record it for torchrun, and return its exit code."""
    code, problem, hint = describe(failure)
    try:
        if problem:
            render.error(code, problem, hint, getattr(failure, "data", {}))
            if render.is_verbose():
                traceback.print_exception(failure)
        sys.stdout.flush()
    except OSError:
        # stdout or stderr is full or closed: only the exit code can still reach the user.
        _discard_stdout()
    if code:
        processes.record_failure(failure)
    return code


def describe(failure: BaseException) -> tuple[int, str, str | None]:
    """Exit code, message and hint of an exception; the message is empty where there is nothing to say."""
    if isinstance(failure, FocusError):
        return failure.exit_code, failure.problem, failure.hint
    if isinstance(failure, SystemExit):
        return (failure.code if isinstance(failure.code, int) else 1), "", None
    if isinstance(failure, typer.Exit):
        return failure.exit_code, "", None
    if isinstance(failure, (KeyboardInterrupt, typer.Abort)):
        return 130, "Interrupted.", None
    if isinstance(failure, BrokenPipeError):
        # The reader of a pipe has closed it (focus predict ... | head); that is no error.
        _discard_stdout()
        return 0, "", None
    if hasattr(failure, "format_message") and hasattr(failure, "exit_code"):
        # An error of the command-line parser. Recent Typers bring their own copy of click: there is no one class to name.
        context = getattr(failure, "ctx", None)
        command = context.command_path if context is not None else "focus"
        hint = f"See: {command} --help"
        if any(word.startswith("-") and os.path.lexists(word) for word in sys.argv[1:]):
            hint += ". Names that start with a dash go after --"
        message = failure.format_message()
        if message.endswith(("is not readable.", "is not writable.")):
            return 3, message, "Ask its owner for permission, or name another place."
        return failure.exit_code, message, hint
    # By name: importing clip_impl imports torch.
    if any(kind.__name__ == "WeightsError" for kind in type(failure).__mro__):
        return 3, getattr(failure, "problem", str(failure)), getattr(failure, "hint", None)
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":  # torch.OutOfMemoryError
        first_line = str(failure).partition("\n")[0] or "no more memory available"
        hint = "Try a smaller --batch-size with --accumulate, or --gradient-checkpointing."
        return 4, f"Out of memory: {first_line}.", hint
    if isinstance(failure, OSError):
        return _describe_os_error(failure)
    problem = f"internal error: {type(failure).__name__}: {failure}"
    return 1, problem, "This is a bug in focus. Run it again with -v to see where."


def _describe_os_error(failure: OSError) -> tuple[int, str, str | None]:
    """What the operating system refuses is never a bug in focus: an input, or something that this machine lacks."""
    where = failure.filename if failure.filename is not None else "while writing"
    where = os.fsdecode(where) if isinstance(where, (str, bytes, os.PathLike)) else str(where)
    where = where if len(where) <= 200 else f"{where[:60]}...{where[-20:]}"
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return 4, f"No space left on the disk ({where}).", "Free some space and try again."
    if failure.errno in (errno.EMFILE, errno.ENFILE):
        return 4, f"Too many open files ({where}).", "Raise the limit (ulimit -n 4096), or use fewer --workers."
    if failure.errno == errno.EBADF and failure.filename is None:
        return 4, "Standard output is closed: the result cannot be written.", "Give an output path, or redirect it."
    lacking = isinstance(failure, (ConnectionError, TimeoutError)) or failure.errno in _LACKING
    reason = failure.strerror or " ".join(str(failure).split()) or type(failure).__name__
    problem = f"{where}: {reason}." if failure.filename is not None else f"{reason}."
    if failure.errno in (errno.EACCES, errno.EPERM):
        return 3, problem, "Ask its owner for permission, or name another place."
    return (4 if lacking else 3), problem, None


_LACKING = (errno.EROFS, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.EFBIG, errno.ENODEV, errno.ENXIO)


def _discard_stdout() -> None:
    """Send what is still buffered for stdout to the null device, so that the interpreter does not fail on it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
