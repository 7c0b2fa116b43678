"""`focus help`, and what a command that has only subcommands does alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from focuscli.cli import render
from focuscli.cli.errors import EXIT_CODES
from focuscli.errors import UsageError, did_you_mean

TOPIC = "exit-codes"


def help_command(
    context: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(help="A command and its subcommand, or exit-codes. Default: all commands.")
    ] = None,
) -> None:
    """Help on a command, or on a topic: exit-codes."""
    words = topic or []
    if words == [TOPIC]:
        lines = [f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()]
        render.result({str(code): meaning for code, meaning in EXIT_CODES.items()}, lines=lines)
        return
    found: Any = context.parent
    for word in words:
        command: Any = found.command
        known = command.list_commands(found) if hasattr(command, "list_commands") else []
        if word not in known:
            topics = [*known, *([TOPIC] if word == words[0] else [])]
            raise UsageError(f'No help on "{" ".join(words)}".', did_you_mean(word, topics, limit=len(topics)))
        command = command.get_command(found, word)
        found = command.context_class(command, info_name=word, parent=found)
    _show(found)


def show_help(context: typer.Context) -> None:
    """Show the help of a command that was called without a subcommand."""
    if context.invoked_subcommand is None:
        _show(context)


def _show(context: typer.Context) -> None:
    text = context.get_help()
    render.result({"command": context.command_path, "help": text}, lines=text.splitlines())
