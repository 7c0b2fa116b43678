"""Random weights in every form that the weight tests need: one ViT-B/16, and a small CLIP of the same structure."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import packaging.version
import pytest
import torch
from torch import Tensor, nn

from clip_impl.config import VIT_B_16, CLIPConfig, TextConfig, VisionConfig
from clip_impl.model import CLIP
from clip_impl.tokenizer import tokenize

SMALL = CLIPConfig(
    vision=VisionConfig(image_size=(64, 64), patch_size=16, width=128, layers=3, heads=2),
    text=TextConfig(width=64, layers=2, heads=1),
    embed_dim=96,
)
FP32_NAMES = ("positional_embedding", "token_embedding", "logit_scale", "class_embedding", "ln_")


def random_weights(config: CLIPConfig, seed: int = 0) -> dict[str, Tensor]:
    """A fresh model's tensors with noise where they are constant, c_fc so large that the activation matters, and all rounded
    to what fp16 holds exactly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = CLIP(config).state_dict()
        for name, tensor in tensors.items():
            if "ln_" in name or name.endswith("bias"):
                tensor += 0.1 * torch.randn_like(tensor)
            elif name.endswith("c_fc.weight"):
                tensor *= 3
    tensors["logit_scale"].fill_(4.6)
    return {name: tensor.half().float() for name, tensor in tensors.items()}


def in_openai_dtypes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the dtypes of OpenAI's files: fp16 but for embeddings, LayerNorms and the temperature."""
    return {name: t if any(part in name for part in FP32_NAMES) else t.half() for name, t in tensors.items()}


@pytest.fixture(scope="session")
def as_openai() -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return in_openai_dtypes


@pytest.fixture(scope="session")
def vit_b_16() -> dict[str, Tensor]:
    return random_weights(VIT_B_16)


@pytest.fixture(scope="session")
def ids() -> Tensor:
    """Token ids of three texts of different lengths."""
    return tokenize(
        ["a photo of a person with a red backpack", "hat", "a lower body feature of clothes is long trousers."]
    )


@pytest.fixture(scope="session")
def small() -> dict[str, Tensor]:
    return random_weights(SMALL)


@pytest.fixture(scope="session")
def small_config() -> CLIPConfig:
    return SMALL


@pytest.fixture(scope="session")
def write_torchscript() -> Callable[[dict[str, Tensor], Path], None]:
    """Writes a TorchScript archive as OpenAI's: a tree of modules, three more buffers, mixed dtypes."""

    def write(tensors: dict[str, Tensor], path: Path) -> None:
        root = nn.Module()
        extra = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
        for name, tensor in (
            in_openai_dtypes(tensors) | {key: torch.tensor(value) for key, value in extra.items()}
        ).items():
            *modules, last = name.split(".")
            module = root
            for part in modules:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            if tensor.is_floating_point():
                module.register_parameter(last, nn.Parameter(tensor.clone()))
            else:
                module.register_buffer(last, tensor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(root), str(path))

    return write


@pytest.fixture(scope="session")
def openai_clip() -> Any:
    """OpenAI's package; it wants setuptools' pkg_resources only for its re-export of packaging."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("pkg_resources") is None:
            stand_in = types.ModuleType("pkg_resources")
            stand_in.packaging = packaging  # type: ignore[attr-defined]
            patch.setitem(sys.modules, "pkg_resources", stand_in)
        return pytest.importorskip("clip.clip", reason="OpenAI's package (clip-anytorch) is not installed")
