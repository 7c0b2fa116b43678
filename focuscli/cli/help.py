"""`focus help`."""

from __future__ import annotations

from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.cli.errors import EXIT_CODES
from focuscli.errors import UsageError


def help_command(
    topic: Annotated[str | None, typer.Argument(help="exit-codes; for a command: focus COMMAND --help.")] = None,
) -> None:
    """Help on a topic: exit-codes."""
    if topic not in (None, "exit-codes"):
        raise UsageError(f'No help on "{topic}".', f"Topics: exit-codes. For a command: focus {topic} --help")
    lines = [f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()]
    render.result({str(code): meaning for code, meaning in EXIT_CODES.items()}, lines=lines)
