"""The shape of a model, read off the shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from clip_impl.config import Activation, CLIPConfig, TextConfig, VisionConfig
from clip_impl.errors import WeightsError
from clip_impl.keymaps import TEXT_BLOCKS, VISION_BLOCKS

VOCABULARY_SIZE = 49408
HEAD_WIDTH = 64
# Larger Vision Transformers of open_clip (H, g, bigG) have 16 heads that are wider.
_VISION_HEADS = {1280: 16, 1408: 16, 1664: 16}


def infer_config(
    tensors: Mapping[str, Tensor], activation: Activation, image_size: tuple[int, int] | None = None
) -> CLIPConfig:
    """The configuration of the CLIP that these tensors (OpenAI's names) belong to.

    Attention heads leave no trace in the shapes: OpenAI's are always 64 wide, and so they are assumed to be.

    Args:
        tensors: a state dict with both towers.
        activation: see `clip_impl.activations`.
        image_size: pixels (height, width), needed only where the positional embedding is of no square image.

    Raises:
        WeightsError: a tensor that tells the shape is missing, or the vocabulary is not that of CLIP's tokenizer.
    """
    conv = _shape(tensors, "visual.conv1.weight", 4)
    if conv[1] != 3 or conv[2] != conv[3]:
        raise WeightsError(f"visual.conv1.weight {list(conv)} is no embedding of square patches of three channels.")
    width, patch = conv[0], conv[2]
    positions = _shape(tensors, "visual.positional_embedding", 2)[0] - 1
    vocabulary, text_width = _shape(tensors, "token_embedding.weight", 2)
    if vocabulary != VOCABULARY_SIZE:
        raise WeightsError(
            f"It was trained on a vocabulary of {vocabulary} tokens; CLIP's tokenizer, the only one here, has "
            f"{VOCABULARY_SIZE}.",
            "Use ViT-B/16 weights with OpenAI's tokenizer, for example ViT-B-16.pt.",
        )
    try:
        return CLIPConfig(
            vision=VisionConfig(
                image_size=_image_size(positions, patch, image_size),
                patch_size=patch,
                width=width,
                layers=_layers(tensors, VISION_BLOCKS),
                heads=_VISION_HEADS.get(width, width // HEAD_WIDTH),
            ),
            text=TextConfig(
                context_length=_shape(tensors, "positional_embedding", 2)[0],
                vocab_size=vocabulary,
                width=text_width,
                layers=_layers(tensors, TEXT_BLOCKS),
                heads=text_width // HEAD_WIDTH,
            ),
            embed_dim=_shape(tensors, "visual.proj", 2)[1],
            activation=activation,
        )
    except WeightsError:
        raise
    except ValueError as error:
        raise WeightsError(f"No CLIP has these shapes: {error}.") from error


def _image_size(positions: int, patch: int, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size in pixels whose grid has so many positions: the square, or the one asked for where it fits."""
    side = math.isqrt(max(positions, 0))
    if side * side == positions and side:
        return side * patch, side * patch
    if image_size is not None and (image_size[0] // patch) * (image_size[1] // patch) == positions:
        return image_size
    raise WeightsError(
        f"Its positional embedding has {positions} patches, which make no square.",
        f"Say the size it was trained on: image_size=(height, width), multiples of {patch}.",
    )


def _layers(tensors: Mapping[str, Tensor], blocks: str) -> int:
    pattern = re.compile(re.escape(blocks) + r"(\d+)\.")
    numbers = {int(match[1]) for name in tensors if (match := pattern.match(name))}
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
