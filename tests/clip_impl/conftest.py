"""Random weights in every form that the weight tests need: one ViT-B/16, and a small CLIP of the same structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
from torch import Tensor

from clip_impl.config import VIT_B_16, CLIPConfig, TextConfig, VisionConfig
from clip_impl.convert import TRANSPOSED, rename
from clip_impl.model import CLIP
from clip_impl.tokenizer import tokenize

SMALL = CLIPConfig(
    vision=VisionConfig(image_size=(64, 64), patch_size=16, width=128, layers=3, heads=2),
    text=TextConfig(width=64, layers=2, heads=1),
    embed_dim=96,
)


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


@pytest.fixture(scope="session")
def in_layout() -> Callable[..., dict[str, Tensor]]:
    """The tensors under another library's names, in its shapes; raises KeyError for a name that is not converted."""

    def convert(tensors: Mapping[str, Tensor], names: Iterable[str], table: Mapping[str, str]) -> dict[str, Tensor]:
        known = {name: t.T.contiguous() if name in TRANSPOSED else t for name, t in tensors.items()}
        for name in [name for name in known if ".in_proj_" in name]:
            for letter, part in zip("qkv", known[name].chunk(3), strict=True):
                known[name.replace(".in_proj_", f".{letter}_proj.")] = part.clone()
        return {name: known[rename(name, table)] for name in names}

    return convert


@pytest.fixture(scope="session")
def vit_b_16() -> dict[str, Tensor]:
    return random_weights(VIT_B_16)


@pytest.fixture(scope="session")
def ids() -> Tensor:
    """Token ids of three texts of different lengths."""
    return tokenize(["a photo of a person with a red backpack", "hat", "a lower body feature of clothes is trousers."])


@pytest.fixture(scope="session")
def small() -> dict[str, Tensor]:
    return random_weights(SMALL)


@pytest.fixture(scope="session")
def build() -> Callable[..., CLIP]:
    """A model with copies of tensors."""

    def model(tensors: dict[str, Tensor], config: CLIPConfig = SMALL) -> CLIP:
        made = CLIP(config)
        made.load_state_dict(tensors)
        return made.eval()

    return model
