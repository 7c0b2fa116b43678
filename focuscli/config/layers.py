"""Where settings come from: presets, methods, files and flags, merged into a checked `RunConfig`."""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from focuscli.config.methods import PRESETS, method_entry
from focuscli.config.settings import RENAMED, ModelConfig, RunConfig
from focuscli.errors import InputError, UsageError, closest, did_you_mean

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
    defaults = RunConfig()
    merged: dict[str, dict[str, Any]] = {}
    origins: Origins = {}
    for origin, values in layers:
        for section, fields in values.items():
            if section not in RunConfig.model_fields:
                raise _unknown_key(section, list(RunConfig.model_fields), origin)
            if not isinstance(fields, Mapping):
                raise UsageError(f"{section} is a section, not a value ({origin}).", f"Write {section}.KEY=VALUE.")
            known = type(getattr(defaults, section)).model_fields
            for given, value in fields.items():
                key = RENAMED.get(str(given), str(given))
                if key not in known:
                    raise _unknown_key(f"{section}.{key}", [f"{section}.{name}" for name in known], origin)
                merged.setdefault(section, {})[key] = value
                origins[f"{section}.{key}"] = origin
    try:
        return RunConfig.model_validate(merged), origins
    except ValidationError as error:
        raise UsageError(*_describe(error, origins)) from error


def stacked(layers: Sequence[Layer]) -> list[Layer]:
    """The layers on top of those of the preset and the method that they choose.

    Raises:
        UsageError: an unknown preset or method, or a method that is not trained.
    """
    model: dict[str, Any] = {"preset": "vit-b16", "method": "focus"}
    for _, values in layers:
        section = values.get("model")
        model |= section if isinstance(section, Mapping) else {}
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
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return {section: {key: tomllib.loads(f"value = {toml}")["value"]}}
    return {section: {key: raw.strip()}}


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML file with the sections of `RunConfig`.

    Raises:
        InputError: it does not exist or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"No such configuration file: {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not a readable TOML file: {error}.") from error


def dump_config(config: RunConfig) -> str:
    """The configuration as TOML that `read_config_file` reads back to an equal one."""
    import tomlkit

    return tomlkit.dumps(json.loads(config.model_dump_json()))


def without(parts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The settings that switch parts of the method off: rlp, mgmt, avfe (model), racl, lsim (loss weight 0).

    Raises:
        UsageError: an unknown part.
    """
    values: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part not in ABLATIONS:
            raise UsageError(f'Unknown part "{part}" in --without.', did_you_mean(part, ABLATIONS))
        if part in ModelConfig.model_fields:
            values.setdefault("model", {})[part] = False
        else:
            values.setdefault("loss", {})[part] = 0.0
    return values


def _unknown_key(key: str, known: list[str], origin: str) -> UsageError:
    near = closest(key, known)
    if near is None:
        return UsageError(f"Unknown key {key} ({origin}).", did_you_mean(key, known, limit=len(known)))
    section, _, name = near.partition(".")
    default = f" (default {getattr(getattr(RunConfig(), section), name)})" if name else ""
    return UsageError(f"Unknown key {key} ({origin}).", f"Did you mean {near}{default}?")


def _describe(error: ValidationError, origins: Origins) -> tuple[str, str | None]:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"]), None
    where = f" ({origins[key]})" if key in origins else ""
    return f"{key}={first['input']!r}{where}: {first['msg']}.", None
