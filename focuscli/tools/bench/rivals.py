"""The image towers that users would pick instead, with the same weights in each."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clip_impl import CLIPConfig
from clip_impl.convert import to_huggingface, to_timm
from focuscli.storage.machine import one_line
from focuscli.tools.bench.results import Missing

Tower = Callable[[Tensor], Tensor]
State = dict[str, Tensor]
OPENAI = "OpenAI CLIP fp32"


@dataclass(frozen=True)
class Rival:
    """A name, the package to install, the module that it brings, and from weights [canonical names] to a tower."""

    name: str
    package: str
    module: str
    build: Callable[[State, CLIPConfig, torch.device], Tower]


def build_rivals(state: State, config: CLIPConfig, device: torch.device) -> tuple[dict[str, Tower], list[Missing]]:
    """The towers of the packages that are installed, and why the others are missing."""
    towers: dict[str, Tower] = {}
    missing = []
    for rival in RIVALS:
        reason = _shape_problem(config)
        if not reason and importlib.util.find_spec(rival.module) is None:
            reason = f"not installed: pip install 'focus-par[bench]' or pip install {rival.package}"
        if not reason:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    towers[rival.name] = rival.build(state, config, device)
            except Exception as error:  # whatever a foreign package does, the others are still measured
                reason = f"does not load: {one_line(error)}"
        if reason:
            missing.append(Missing(work="encode", name=rival.name, reason=reason))
    return towers, missing


def _shape_problem(config: CLIPConfig) -> str:
    vision = config.vision
    if vision.image_size[0] != vision.image_size[1] or config.activation != "quick_gelu":
        return "only CLIP's own shape (square input, QuickGELU) exists there"
    return ""


@contextlib.contextmanager
def openai_package() -> Iterator[Any]:
    """OpenAI's module `clip.model`. It wants setuptools' pkg_resources only for its re-export of packaging."""
    stand_in = None
    if importlib.util.find_spec("pkg_resources") is None:
        import packaging.version

        stand_in = types.ModuleType("pkg_resources")
        stand_in.packaging = packaging  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stand_in
    try:
        yield importlib.import_module("clip.model")
    finally:
        if stand_in is not None:
            del sys.modules["pkg_resources"]


def _openai(state: State, config: CLIPConfig, device: torch.device) -> Tower:
    with openai_package() as package:
        model = package.build_model({name: tensor.clone() for name, tensor in state.items()})
    tower: Tower = model.visual.float().eval().requires_grad_(False).to(device)
    return tower


def _open_clip(state: State, config: CLIPConfig, device: torch.device) -> Tower:
    import open_clip

    vision, text = config.vision, config.text
    model = open_clip.CLIP(
        config.embed_dim,
        {
            "layers": vision.layers,
            "width": vision.width,
            "head_width": vision.width // vision.heads,
            "patch_size": vision.patch_size,
            "image_size": vision.image_size[0],
        },
        {
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
        },
        quick_gelu=True,
    )
    model.load_state_dict(state, strict=True)
    tower: Tower = model.visual.eval().requires_grad_(False).to(device)
    return tower


def _timm(state: State, config: CLIPConfig, device: torch.device) -> Tower:
    import timm

    vision = config.vision
    model = timm.create_model(
        "vit_base_patch16_clip_quickgelu_224",
        num_classes=config.embed_dim,
        img_size=vision.image_size,
        patch_size=vision.patch_size,
        embed_dim=vision.width,
        depth=vision.layers,
        num_heads=vision.heads,
    )
    model.load_state_dict(to_timm(state), strict=True)
    tower: Tower = model.eval().requires_grad_(False).to(device)
    return tower


def _hugging_face(state: State, config: CLIPConfig, device: torch.device) -> Tower:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    vision = config.vision
    model = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=vision.width,
            intermediate_size=4 * vision.width,
            projection_dim=config.embed_dim,
            num_hidden_layers=vision.layers,
            num_attention_heads=vision.heads,
            image_size=vision.image_size[0],
            patch_size=vision.patch_size,
            hidden_act="quick_gelu",
        )
    )
    wanted = model.state_dict().keys()
    model.load_state_dict({k: v for k, v in to_huggingface(state).items() if k in wanted}, strict=True)
    model.eval().requires_grad_(False).to(device)
    return lambda images: model(pixel_values=images).image_embeds


RIVALS = (
    Rival(OPENAI, "clip-anytorch", "clip", _openai),
    Rival("open_clip fp32", "open_clip_torch", "open_clip", _open_clip),
    Rival("timm fp32", "timm", "timm", _timm),
    Rival("Hugging Face fp32", "transformers", "transformers", _hugging_face),
)
