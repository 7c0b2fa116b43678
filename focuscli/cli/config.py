"""`focus config`: what the settings of a training mean."""

from __future__ import annotations

from typing import Annotated

import typer

from focuscli.cli import render
from focuscli.errors import UsageError, did_you_mean


def _keys() -> list[str]:
    """What names settings: sections, section.key, and key alone."""
    from focuscli.config.describe import SETTINGS

    parts = [key.split(".") for key in SETTINGS]
    return [*dict.fromkeys([*(section for section, _ in parts), *SETTINGS, *(key for _, key in parts)])]


def show_command(
    key: Annotated[
        str,
        typer.Argument(
            metavar="[KEY|SECTION]", help="Such as train.epochs, or train; default: all.", autocompletion=_keys
        ),
    ] = "",
) -> None:
    """Type, default and meaning of a setting, of a section, or of all."""
    from focuscli.config.describe import SETTINGS

    found = {name: about for name, about in SETTINGS.items() if key in ("", name, *name.split("."))}
    if not found:
        raise UsageError(f'No setting "{key}".', did_you_mean(key, _keys()))
    if render.as_json():
        render.result({name: about._asdict() for name, about in found.items()})
    elif key in found:
        about = found[key]
        lines = [
            f"{key} = {about.default}",
            f"  {about.type}",
            f"  {about.meaning}",
            f"  set it with: --set {key}=VALUE",
        ]
        render.result({}, lines=lines)
    else:
        rows = [(name, about.type, about.default, about.meaning) for name, about in found.items()]
        render.table(("setting", "type", "default", "meaning"), rows)


COMMANDS = {"show": show_command}
