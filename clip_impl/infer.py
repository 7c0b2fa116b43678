"""The configuration of the model that a weight file belongs to.

Shapes follow from the tensors. The activation does not show in any tensor, and a wrong one silently ruins the features:
it is looked up in what comes with the file.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clip_impl.config import VOCABULARY_SIZE, Activation, CLIPConfig, TextConfig, VisionConfig
from clip_impl.convert import TEXT_BLOCKS, VISION_BLOCKS
from clip_impl.errors import WeightsError

HEAD_WIDTH = 64
# Larger Vision Transformers of open_clip (H, g, bigG) have 16 heads that are wider.
_VISION_HEADS = {1280: 16, 1408: 16, 1664: 16}

# Activations by words in usual file names: open_clip's release names and tags, and OpenAI's own files.
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


def infer_config(
    tensors: Mapping[str, Tensor], activation: Activation, image_size: tuple[int, int] | None = None
) -> CLIPConfig:
    """The configuration of the CLIP that these tensors (OpenAI's names) belong to.

    The number of attention heads does not show in any shape: heads are taken to be 64 wide, as OpenAI's always are.

    Args:
        tensors: a state dict with both towers.
        activation: see `infer_activation`.
        image_size: pixels (height, width), needed only if the positional embedding is not that of a square image.

    Raises:
        WeightsError: a tensor that determines the shape is missing, or the vocabulary is not that of CLIP's tokenizer.
    """
    conv = _shape(tensors, "visual.conv1.weight", 4)
    if conv[1] != 3 or conv[2] != conv[3]:
        raise WeightsError(f"visual.conv1.weight {list(conv)} does not embed square patches of three channels.")
    width, patch = conv[0], conv[2]
    positions = _shape(tensors, "visual.positional_embedding", 2)[0] - 1
    vocabulary, text_width = _shape(tensors, "token_embedding.weight", 2)
    if vocabulary != VOCABULARY_SIZE:
        raise WeightsError(
            f"It was trained on a vocabulary of {vocabulary} tokens; CLIP's tokenizer, the only one here, has "
            f"{VOCABULARY_SIZE}.",
            "Use ViT-B/16 weights with OpenAI's tokenizer, for example ViT-B-16.pt.",
        )
    side = math.isqrt(max(positions, 0))
    if side and side * side == positions:
        image_size = (side * patch, side * patch)
    elif image_size is None or (image_size[0] // patch) * (image_size[1] // patch) != positions:
        raise WeightsError(
            f"Its positional embedding has {positions} patches, which do not form a square.",
            f"Give the size it was trained on: image_size=(height, width), multiples of {patch}.",
        )
    text_layers, vision_layers = (_count_layers(tensors, blocks) for blocks in (TEXT_BLOCKS, VISION_BLOCKS))
    context_length = _shape(tensors, "positional_embedding", 2)[0]
    embed_dim = _shape(tensors, "visual.proj", 2)[1]
    try:
        return CLIPConfig(
            VisionConfig(image_size, patch, width, vision_layers, _VISION_HEADS.get(width, width // HEAD_WIDTH)),
            TextConfig(context_length, vocabulary, text_width, text_layers, text_width // HEAD_WIDTH),
            embed_dim,
            activation,
        )
    except ValueError as error:
        raise WeightsError(f"No CLIP has these shapes: {error}.") from error


def _count_layers(tensors: Mapping[str, Tensor], blocks: str) -> int:
    numbers = {name.removeprefix(blocks).partition(".")[0] for name in tensors if name.startswith(blocks)}
    if not numbers:
        raise WeightsError(f"It has no {blocks}* tensors.")
    return len(numbers)


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"It has no {name}.")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise WeightsError(f"{name} has the shape {list(shape)}, want {dimensions} dimensions.")
    return shape


def infer_activation(path: Path, container: str, requested: str | None = None) -> tuple[Activation, str]:
    """The activation of a weight file, and how it is known.

    In this order: the caller's request; OpenAI's TorchScript archives are quick_gelu; a record `<file name>.json` beside
    the file, written when it was installed; an `open_clip_config.json` or `config.json` beside it; words in its name; else
    quick_gelu, with a warning.

    Raises:
        WeightsError: the requested or recorded activation is unknown, or the two towers have different ones.
    """
    if requested is not None:
        return _activation(requested), "argument"
    if container == "torchscript":
        return "quick_gelu", "OpenAI's TorchScript"
    for name, find in (
        (f"{path.name}.json", lambda record: record.get("activation")),
        ("open_clip_config.json", _of_open_clip),
        ("config.json", _of_transformers_or_timm),
    ):
        found = find(_read_json(path.with_name(name)))
        if found is not None:
            return _activation(found), name
    if path.name in _OPENAI_FILES:
        return "quick_gelu", "file name"
    lower = path.name.lower().replace("-", "")
    for word, activation in _WORDS.items():
        if word in lower:
            return activation, "file name"
    warnings.warn(
        f"The activation of {path.name} is unknown; assuming quick_gelu, as in OpenAI's weights. If it was trained with "
        "the exact GELU (LAION, DataComp), the features will be wrong: pass activation='gelu'.",
        stacklevel=4,
    )
    return "quick_gelu", "default"


def _of_open_clip(config: dict[str, Any]) -> str | None:
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return None
    return "quick_gelu" if model.get("quick_gelu") else "gelu"


def _of_transformers_or_timm(config: dict[str, Any]) -> str | None:
    if str(config.get("model_type", "")).startswith("clip"):
        towers = [config[name] for name in ("vision_config", "text_config") if isinstance(config.get(name), dict)]
        named = {str(tower.get("hidden_act", "quick_gelu")) for tower in towers or [config]}
        if len(named) > 1:
            raise WeightsError(f"Its config.json names two activations, {' and '.join(sorted(named))}.")
        return named.pop()
    architecture = str(config.get("architecture", ""))
    if "clip" not in architecture:
        return None
    pretrained = config.get("pretrained_cfg")
    tag = str(pretrained.get("tag", "")) if isinstance(pretrained, dict) else ""
    return "quick_gelu" if "quickgelu" in architecture or tag.startswith("openai") else "gelu"


def _activation(name: object) -> Activation:
    if name == "quick_gelu" or name == "gelu":
        return name
    raise WeightsError(f'Unknown activation "{name}".', "Known: quick_gelu (OpenAI) and gelu (LAION, DataComp).")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
