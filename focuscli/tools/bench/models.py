"""Models with random weights to be timed, their inputs, and how far an output is from the right one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl import CLIP, TINY, VIT_B_16, CLIPConfig
from focuscli.config import ModelConfig
from focuscli.data.schema import Text, builtin_schema
from focuscli.models.base import Method
from focuscli.models.build import build_method, seeded
from focuscli.tools.bench.results import Check

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
UPRIGHT = {"vit-b16": (256, 128), "tiny": (128, 32)}
"""The smaller input that is timed beside the model's own."""
EXACT_IMAGES = 2
# Of features of unit length. On a GPU the patch embedding may run in TF32, which has ten bits behind the point.
BOUNDS = {"fp32": 1e-5, "bf16": 5e-3, "fp16": 2e-3, "int8": 2e-2}
GPU_FP32_BOUND = 1e-3

Module = TypeVar("Module", bound=nn.Module)


def clip_shape(model: str) -> CLIPConfig:
    return {"vit-b16": VIT_B_16, "tiny": TINY}[model]


def random_clip(config: CLIPConfig, seed: int = 0) -> CLIP:
    """CLIP with seeded weights, each exact in fp16, which OpenAI's package rounds to; biases and LayerNorms too are random,
    so that one that is not read shows."""
    with seeded(seed), torch.no_grad():
        clip = CLIP(config)
        for parameter in clip.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.copy_(parameter.half())
    return clip.eval().requires_grad_(False)


def random_focus(model: str, *, seed: int = 0) -> tuple[Method, tuple[Text, ...]]:
    """FOCUS over such a CLIP for the 51 evaluated attributes of RAPv1, and their texts."""
    shape = clip_shape(model)
    texts = builtin_schema("rapv1").texts(complements=False)
    clip = random_clip(shape, seed).requires_grad_(True)
    config = ModelConfig(preset=model, image_size=shape.vision.image_size)  # type: ignore[arg-type]
    with seeded(seed + 1):
        return build_method(config, clip, texts), texts


def random_images(batch: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Normalised pixels [B, 3, H, W]."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def in_double(module: Module) -> Module:
    """A copy in float64 on the CPU: what every precision is compared with."""
    return copy.deepcopy(module).cpu().double()


@torch.inference_mode()
def feature_check(run: Callable[[], Tensor], exact: Tensor, precision: str, *, gpu: bool = False) -> Check:
    """How far the first features are from exact ones, both at unit length; `run` returns [B, E]."""
    found = F.normalize(run()[: len(exact)].detach().cpu().double(), dim=-1)
    difference = float((found - F.normalize(exact.double(), dim=-1)).abs().max())
    return Check(
        what="features of unit length against our tower in float64",
        difference=difference if difference == difference else 1e9,
        bound=bound(precision, gpu=gpu),
    )


def bound(precision: str, *, gpu: bool = False) -> float:
    """The largest difference that counts as right."""
    return GPU_FP32_BOUND if gpu and precision == "fp32" else BOUNDS[precision]


def resized(config: CLIPConfig, size: tuple[int, int]) -> CLIPConfig:
    return replace(config, vision=replace(config.vision, image_size=size))
