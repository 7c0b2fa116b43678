"""The configuration of a run: `settings` declares it, `methods` has the tables behind names, and here presets, methods, files
and flags are merged into a checked `RunConfig`."""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from focuscli.config.methods import METHODS as METHODS
from focuscli.config.methods import PRESETS, method_entry
from focuscli.config.settings import BEFORE as BEFORE
from focuscli.config.settings import RENAMED, ModelConfig, RunConfig
from focuscli.config.settings import SCRATCH as SCRATCH
from focuscli.config.settings import AugmentConfig as AugmentConfig
from focuscli.config.settings import DataConfig as DataConfig
from focuscli.config.settings import LossConfig as LossConfig
from focuscli.config.settings import TrainConfig as TrainConfig
from focuscli.errors import UsageError, did_you_mean

ABLATIONS = ("rlp", "mgmt", "avfe", "racl", "lsim")
Origins = dict[str, str]
Layer = tuple[str, Mapping[str, Any]]
"""Where values come from, and the values by section: ("--lr", {"train": {"learning_rate": 1e-4}})."""
Layers = list[Layer]


def build_config(layers: Iterable[Layer]) -> tuple[RunConfig, Origins]:
    """Merge nested mappings, later ones winning, into a checked configuration.

    Args:
        layers: (origin, values) pairs, e.g. ("preset tiny", {...}), ("--lr", {"train": {"learning_rate": 1e-4}}).

    Returns:
        The configuration, and for every key that a layer set ("train.learning_rate") the origin of its value.

    Raises:
        UsageError: an unknown key (with the nearest known one) or a wrong value, by name.
    """
    merged: dict[str, Any] = {}
    origins: Origins = {}
    for origin, values in layers:
        for section, fields in values.items():
            if not isinstance(fields, Mapping):
                raise UsageError(f"{section} is a section, not a value ({origin}).", f"Write {section}.KEY=VALUE.")
            for given, value in fields.items():
                key = RENAMED.get(str(given), str(given))
                merged.setdefault(section, {})[key] = value
                origins[f"{section}.{key}"] = origin
    try:
        return RunConfig.model_validate(merged), origins
    except ValidationError as error:
        raise _refusal(error.errors()[0], origins) from error


def stacked(layers: Sequence[Layer]) -> list[Layer]:
    """The layers on top of those of the preset and the method that they choose.

    Raises:
        UsageError: an unknown preset or method, or a method that is not trained.
    """
    model = {"preset": "vit-b16", "method": "focus"}
    for _, values in layers:
        if isinstance(section := values.get("model"), Mapping):
            model |= section
    preset, method = model["preset"], model["method"]
    if preset not in PRESETS:
        raise UsageError(f'Unknown model "{preset}".', did_you_mean(str(preset), PRESETS))
    entry = method_entry(method)
    if not entry.trainable:
        raise UsageError(
            f"Method {method} is not trained.", f"Use it without training: focus eval --checkpoint {method}"
        )
    return [(f"preset {preset}", PRESETS[preset]), (f"method {method}", entry.changes), *layers]


def parse_override(text: str) -> dict[str, dict[str, Any]]:
    """`section.key=value` as a nested mapping; the value is read as TOML (a list also without brackets), else as a string.

    Raises:
        UsageError: there is no `=` or no section.
    """
    path, equals, raw = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not dot or not key:
        raise UsageError(f'--set takes section.key=value; got "{text}".', "Example: --set train.learning_rate=3e-4")
    for toml in (raw, f"[{raw}]") if "," in raw else (raw,):
        with contextlib.suppress(ValueError, RecursionError):
            return {section: {key: tomllib.loads(f"value = {toml}")["value"]}}
    return {section: {key: raw.strip()}}


def dump_config(config: RunConfig, origins: Origins | None = None) -> str:
    """The configuration as TOML that reads back to an equal one, with a comment where each origin is."""
    import tomlkit

    section, lines = "", []
    for line in tomlkit.dumps(json.loads(config.model_dump_json())).splitlines():
        section = line[1:-1] if line.startswith("[") else section
        origin = (origins or {}).get(f"{section}.{line.partition(' = ')[0]}")
        # As repr, because a line break in a flag's value would end the comment.
        lines.append(f"{line}  # {repr(origin)[1:-1]}" if origin else line)
    return "\n".join(lines) + "\n"


def without(parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings that switch parts of the method off: rlp, mgmt, avfe (model), racl, lsim (loss weight 0).

    Raises:
        UsageError: an unknown part.
    """
    for part in parts:
        if part not in ABLATIONS:
            raise UsageError(f'Unknown part "{part}" in --without.', did_you_mean(part, ABLATIONS))
    switches = {part: False for part in parts if part in ModelConfig.model_fields}
    return {"model": switches, "loss": {part: 0.0 for part in parts if part not in switches}}


def _refusal(error: Any, origins: Origins) -> UsageError:
    """What pydantic found first, in the user's words."""
    path = [str(part) for part in error["loc"][:2]]
    key = ".".join(path)
    where = next((f" ({origin})" for name, origin in origins.items() if f"{name}.".startswith(f"{key}.")), "")
    if error["type"] == "value_error":
        return UsageError(str(error["ctx"]["error"]))
    if error["type"] != "extra_forbidden":
        value = shorten(repr(error["input"]), 80)
        return UsageError(f"{key}={value}{where}: {error['msg']}.")
    known: list[str] = [*RunConfig.model_fields]
    if len(path) == 2:
        known = [f"{path[0]}.{name}" for name in type(getattr(RunConfig(), path[0])).model_fields]
    return UsageError(f"Unknown key {key}{where}.", did_you_mean(key, known, limit=len(known)))
