"""The command `focus`: global options, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from focuscli import __version__
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
GLOBAL_FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose", "--version")
GLOBAL_VALUES = ("--home",)
WRITES_JSON = "bench"
"""The command whose --json may name a file to write."""


class Stopped(Exception):
    """Carries Ctrl-C or a closed pipe past the parser, which would end the program on them without a message."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


class ListingGroup(TyperGroup):
    """Shows each command's whole first line in --help instead of cutting it off."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(limit=400)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class FocusGroup(ListingGroup):
    """Takes global options anywhere on the line, and turns every exception into one message and an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        given = hoist_globals([*(sys.argv[1:] if args is None else args)])
        render.configure(_settings(given))
        code = 0
        try:
            outcome = super().main(given, standalone_mode=False, **extra)
            code = outcome if isinstance(outcome, int) else 0
            sys.stdout.flush()
        except Stopped as failure:
            code = report(failure.reason)
        except BaseException as failure:
            code = report(failure)
            if code:
                processes.let_first_speak()
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as reason:
            raise Stopped(reason) from reason


app = typer.Typer(
    cls=FocusGroup,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Open-domain pedestrian attribute recognition: name an attribute in words, see whether and where a crop shows it.",
)


@app.callback(invoke_without_command=True)
def focus(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, also for errors.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
    home: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder of datasets and weights; default: FOCUS_HOME.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    render.configure(render.Settings(json, quiet, verbose))
    if home is not None:
        if not home:
            raise typer.BadParameter("--home wants a folder.")
        os.environ["FOCUS_HOME"] = home
    if version:
        print(f"focus {__version__}")
        raise typer.Exit
    processes.check_command(context.invoked_subcommand)
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("help")
def help_command(
    topic: Annotated[str | None, typer.Argument(help="exit-codes; for a command: focus COMMAND --help.")] = None,
) -> None:
    """Help on a topic: exit-codes."""
    if topic not in (None, "exit-codes"):
        raise typer.BadParameter(f'no help on "{topic}"; topics: exit-codes. For a command: focus {topic} --help')
    render.result(
        {str(code): meaning for code, meaning in EXIT_CODES.items()},
        lines=[f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()],
    )


def hoist_globals(arguments: Sequence[str]) -> list[str]:
    """Move global options to the front, up to a `--`, so that they work before and after the command."""
    globals_: list[str] = []
    others: list[str] = []
    waiting = iter(arguments)
    before = ""
    for argument in waiting:
        if argument == "--":
            others += [argument, *waiting]
        elif before == "--json" and argument.endswith(".json") and others[:1] == [WRITES_JSON]:
            globals_.pop()
            others.append(f"{before}={argument}")
        elif _is_global_flag(argument) or argument.startswith(tuple(f"{name}=" for name in GLOBAL_VALUES)):
            globals_.append(argument)
        elif argument in GLOBAL_VALUES:
            globals_ += [argument, *(value for value in [next(waiting, None)] if value is not None)]
        else:
            others.append(argument)
        before = argument
    return globals_ + others


def report(failure: BaseException) -> int:
    """Show one message for an exception and return the exit code that it means."""
    code, problem, hint = describe(failure)
    try:
        if problem:
            render.error(code, problem, hint, failure)
        sys.stdout.flush()
    except OSError:
        # The place of the message is itself full or gone; the exit code is all that can still be told.
        _discard_stdout()
    return code


def describe(failure: BaseException) -> tuple[int, str, str | None]:
    """Exit code, message and hint of an exception; an empty message where nothing is to be said."""
    if isinstance(failure, FocusError):
        return failure.exit_code, failure.problem, failure.hint
    if isinstance(failure, SystemExit):
        return (failure.code if isinstance(failure.code, int) else 1), "", None
    if isinstance(failure, typer.Exit):
        return failure.exit_code, "", None
    if isinstance(failure, (KeyboardInterrupt, typer.Abort)):
        return 130, "Interrupted.", None
    if isinstance(failure, BrokenPipeError):
        # The reader of a pipe has gone (focus predict ... | head): nothing is wrong, and nobody listens.
        _discard_stdout()
        return 0, "", None
    if hasattr(failure, "format_message") and hasattr(failure, "exit_code"):  # the parser's own errors
        context = getattr(failure, "ctx", None)
        command = context.command_path if context is not None else "focus"
        return failure.exit_code, failure.format_message(), f"See: {command} --help"
    if type(failure).__name__ == "WeightsError":
        return 3, getattr(failure, "problem", str(failure)), getattr(failure, "hint", None)
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return (
            4,
            f"Out of memory: {str(failure).splitlines()[0] if str(failure) else 'no more to be had'}.",
            ("Try a smaller --batch-size with --accumulate, or --gradient-checkpointing."),
        )
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            4,
            f"No space left on the disk ({failure.filename or 'while writing'}).",
            "Free some space and try again.",
        )
    return (
        1,
        f"internal error: {type(failure).__name__}: {failure}",
        "This is a bug in focus. Run it again with -v to see where.",
    )


def _is_global_flag(argument: str) -> bool:
    return argument in GLOBAL_FLAGS or re.fullmatch("-[qv]{2,}", argument) is not None


def _settings(arguments: Sequence[str]) -> render.Settings:
    """The global options at the front of a hoisted line, for errors that come before the parser has read them."""
    flags: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument in GLOBAL_VALUES:
            next(waiting, None)
        elif _is_global_flag(argument):
            flags.append(argument)
        elif not argument.startswith("--home="):
            break
    short = "".join(flag for flag in flags if not flag.startswith("--"))
    return render.Settings(
        json="--json" in flags, quiet="--quiet" in flags or "q" in short, verbose="--verbose" in flags or "v" in short
    )


def _discard_stdout() -> None:
    """Let what is still buffered for stdout go nowhere, so that the interpreter does not fail on it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the console script."""
    try:
        load_commands(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        with processes.quiet_but_first():
            app()
    except SystemExit as end:
        processes.end_at_once(end.code)
        raise
    finally:
        # The interpreter otherwise looks once more through every object of every module before it ends.
        gc.freeze()


def load_commands(arguments: Sequence[str]) -> None:
    """Import the module of the command that a line names, or of all commands where it names none (for --help, and to
    suggest a near name)."""
    known = {file.stem for file in Path(__file__).parent.glob("*.py")}
    first = next((word for word in hoist_globals(arguments) if not word.startswith("-")), "")
    if first in known:
        import_module(f"focuscli.cli.{first}")
    # Not every module is a command's: what did not register one leaves it to the listing.
    names = [entry.name for entry in app.registered_commands] + [entry.name for entry in app.registered_groups]
    if first not in names:
        import_module("focuscli.cli.commands")
