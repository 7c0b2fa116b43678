"""What each setting means, in words: for `focus config show` and the reference page."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args

from focuscli.config.settings import RunConfig

_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class Setting(NamedTuple):
    """A setting: its type with bounds, or its choices; its default as TOML; its meaning."""

    type: str
    default: str
    meaning: str


def _kind(field: Any) -> str:
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return " or ".join(choices)
    if choices:
        return f"{len(choices)} x {getattr(choices[0], '__origin__', choices[0]).__name__}"
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in _SIGNS.items()
        if hasattr(bound, name)
    ]
    return ", ".join([field.annotation.__name__, "; ".join(bounds)] if bounds else [field.annotation.__name__])


SETTINGS = {
    f"{section}.{key}": Setting(_kind(field), json.dumps(field.default), " ".join((field.description or "").split()))
    for section, model in RunConfig.model_fields.items()
    for key, field in model.default.__class__.model_fields.items()
}
"""Every setting by its dotted key, in the order of the configuration."""
