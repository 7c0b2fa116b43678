"""The shape of a CLIP model as frozen values, with the two presets that the project uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Activation = Literal["quick_gelu", "gelu"]

VOCABULARY_SIZE = 49408
SOT_ID, EOT_ID = VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1
"""Token ids of the start and the end of a text."""
LARGEST = 16_384  # width, layers


@dataclass(frozen=True)
class VisionConfig:
    """Visual tower: image size (height, width) and patch size in pixels, width of the tokens, layers, heads."""

    image_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12

    def __post_init__(self) -> None:
        check_image_size(self.image_size, self.patch_size)
        _check_tower("vision", self)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


@dataclass(frozen=True)
class TextConfig:
    """Text tower: longest text in tokens, number of token ids, width of the tokens, layers, heads."""

    context_length: int = 77
    vocab_size: int = VOCABULARY_SIZE
    width: int = 512
    layers: int = 12
    heads: int = 8

    def __post_init__(self) -> None:
        _check_tower("text", self)


@dataclass(frozen=True)
class CLIPConfig:
    """Both towers, the width of the joint space, and the activation, which no tensor shows (see `weights`)."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    embed_dim: int = 512
    activation: Activation = "quick_gelu"


def check_image_size(image_size: tuple[int, int], patch_size: int) -> None:
    """Raise ValueError, naming sizes that work, unless both sides are positive multiples of the patch size."""
    if min(image_size) < patch_size or any(side % patch_size for side in image_size):
        nearest = tuple(max(1, round(side / patch_size)) * patch_size for side in image_size)
        raise ValueError(
            f"image size {image_size[0]} x {image_size[1]} does not divide into patches of {patch_size} pixels; "
            f"nearest that does: {nearest[0]} x {nearest[1]}"
        )


def _check_tower(name: str, tower: VisionConfig | TextConfig) -> None:
    smallest, largest = min(tower.width, tower.layers, tower.heads), max(tower.width, tower.layers)
    if smallest < 1 or largest > LARGEST or tower.width % tower.heads:
        raise ValueError(f"{name} tower: no {tower.layers} layers of width {tower.width} with {tower.heads} heads")


VIT_B_16 = CLIPConfig()
"""OpenAI's ViT-B/16: 149,620,737 parameters in 302 tensors."""

TINY = CLIPConfig(
    vision=VisionConfig(image_size=(128, 64), patch_size=8, width=128, layers=4, heads=4),
    text=TextConfig(width=64, layers=2, heads=2),
    embed_dim=128,
    activation="gelu",
)
"""A small model for upright crops that trains from scratch on a CPU in minutes."""
