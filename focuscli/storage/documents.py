"""Reading text, JSON and TOML: whatever is wrong with a file is one error that names it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from focuscli.errors import InputError

MAX_BYTES = 64 * 2**20
MAX_TOML, MOST_DOTS = 4 * 2**20, 1000
_NO_TOML = "is not a readable TOML file"
Model = TypeVar("Model", bound=BaseModel)


def read_text(path: Path, hint: str | None = None, *, encoding: str = "utf-8") -> str:
    """The text of a file.

    Raises:
        InputError: it is missing, unreadable, larger than `MAX_BYTES`, or in another encoding; `hint` is what to do.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        return content.decode(encoding)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.", hint) from error


def read_json(path: Path, hint: str | None = None) -> Any:
    """The value in a JSON file, which this program wrote.

    Raises:
        InputError: see `read_text`; or it is not JSON.
    """
    return _parse(path, "is damaged", json.loads, read_text(path, hint), hint)


def read_toml(path: Path, hint: str | None = None) -> dict[str, Any]:
    """The tables of a TOML file, which may start with a byte order mark.

    Raises:
        InputError: see `read_text`; or it is not TOML.
    """
    found: dict[str, Any] = _parse(path, _NO_TOML, _load_toml, read_text(path, hint, encoding="utf-8-sig"), hint)
    return found


def checked(model: type[Model], value: Any, path: Path, hint: str | None = None) -> Model:
    """A value that was read from `path`, as an instance of a model.

    Raises:
        InputError: it does not have the model's form.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise InputError(f"{path} is damaged: {place}: {first['msg']}.", hint) from error


def _load_toml(text: str) -> dict[str, Any]:
    """Python's reader takes 100 bytes of memory for each of the text, and the square of a key's parts in time."""
    if len(text) > MAX_TOML or max((line.count(".") for line in text.splitlines()), default=0) > MOST_DOTS:
        raise ValueError(f"it is larger than {MAX_TOML >> 20} MiB, or has a line with more than {MOST_DOTS:,} dots")
    return tomllib.loads(text)


def _parse(path: Path, problem: str, parse: Callable[[str], Any], text: str, hint: str | None) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:  # also of integers with thousands of digits
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path} {problem}: {words}.", hint) from error
