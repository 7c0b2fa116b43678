"""Which activation a weight file was trained with: the one thing that no tensor tells and that silently ruins features."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from clip_impl.config import Activation
from clip_impl.errors import WeightsError

# Trainings by words in their usual file names (open_clip's release names and tags, OpenAI's own files).
_WORDS: dict[str, Activation] = {
    "quickgelu": "quick_gelu",
    "quick_gelu": "quick_gelu",
    "openai": "quick_gelu",
    "dfn2b": "quick_gelu",
    "dfn5b": "quick_gelu",
    "metaclip": "quick_gelu",
    "laion": "gelu",
    "datacomp": "gelu",
    "commonpool": "gelu",
}
_OPENAI_FILES = ("ViT-B-16.pt", "ViT-B-32.pt", "ViT-L-14.pt", "ViT-L-14-336px.pt")


def find_activation(path: Path, container: str, asked: str | None = None) -> tuple[Activation, str]:
    """The activation of a weight file and where that is known from.

    In this order: what the caller asks for; OpenAI's TorchScript archives are quick_gelu; a record `<file name>.json`
    beside the file, whose "activation" was found out when the file was copied there; the `open_clip_config.json` or
    `config.json` beside it; words in the file's name; else quick_gelu, with a warning.

    Raises:
        WeightsError: an activation is asked for that there is not.
    """
    if asked is not None:
        return _activation(asked), "argument"
    if container == "torchscript":
        return "quick_gelu", "OpenAI's TorchScript"
    records = {f"{path.name}.json": _of_record, "open_clip_config.json": _of_open_clip, "config.json": _of_config}
    for name, read in records.items():
        found = read(_json(path.parent / name))
        if found is not None:
            return found, name
    if path.name in _OPENAI_FILES:
        return "quick_gelu", "file name"
    lower = path.name.lower().replace("-", "")
    for word, activation in _WORDS.items():
        if word in lower:
            return activation, "file name"
    warnings.warn(
        f"{path.name} does not tell its activation; taking quick_gelu, as OpenAI's weights. If they were trained with the "
        "exact GELU (LAION, DataComp), features would be wrong without notice: say activation='gelu'.",
        stacklevel=4,
    )
    return "quick_gelu", "default"


def _of_record(record: dict[str, Any]) -> Activation | None:
    return _activation(str(record["activation"])) if "activation" in record else None


def _of_open_clip(config: dict[str, Any]) -> Activation | None:
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return None
    return "quick_gelu" if model.get("quick_gelu") else "gelu"


def _of_config(config: dict[str, Any]) -> Activation | None:
    """From the `config.json` of a Hugging Face CLIP, or of a timm model."""
    if str(config.get("model_type", "")).startswith("clip"):
        towers = [config[name] for name in ("vision_config", "text_config") if isinstance(config.get(name), dict)]
        named = {str(tower.get("hidden_act", "quick_gelu")) for tower in towers or [config]}
        if len(named) > 1:
            raise WeightsError(
                f"Its config.json names two activations, {' and '.join(sorted(named))}; only one can be."
            )
        return _activation(named.pop())
    architecture = str(config.get("architecture", ""))
    if "clip" not in architecture:
        return None
    pretrained = config.get("pretrained_cfg")
    tag = str(pretrained.get("tag", "")) if isinstance(pretrained, dict) else ""
    return "quick_gelu" if "quickgelu" in architecture or tag.startswith("openai") else "gelu"


def _activation(name: str) -> Activation:
    if name == "quick_gelu":
        return "quick_gelu"
    if name == "gelu":
        return "gelu"
    raise WeightsError(f'Unknown activation "{name}".', "There are quick_gelu (OpenAI) and gelu (LAION, DataComp).")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
