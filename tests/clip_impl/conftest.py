"""Random weights in every form that the weight tests need: one ViT-B/16, and a small CLIP of the same structure."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import packaging.version
import pytest
import torch
from torch import Tensor, nn

from clip_impl.config import VIT_B_16, CLIPConfig, TextConfig, VisionConfig
from clip_impl.convert import TRANSPOSED, rename
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
def small_huggingface() -> Any:
    """`CLIPModel` of transformers in the shape of the small CLIP."""
    transformers = pytest.importorskip("transformers")
    text = {"intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "hidden_size": 64}
    vision = {"intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 128}
    vision |= {"image_size": 64, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=96)
    return transformers.CLIPModel(config)


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
def build() -> Callable[..., CLIP]:
    """A model with copies of tensors."""

    def model(tensors: dict[str, Tensor], config: CLIPConfig = SMALL) -> CLIP:
        made = CLIP(config)
        made.load_state_dict(tensors)
        return made.eval()

    return model


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
