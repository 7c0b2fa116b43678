"""The one place that builds a method: for a new run, from a checkpoint, or around weights that are used as they are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clip_impl import CLIP, TINY, VIT_B_16, CLIPConfig, TextConfig, VisionConfig
from focuscli.config import SCRATCH, ModelConfig, RunConfig, method_entry
from focuscli.data.texts import Text
from focuscli.errors import InputError
from focuscli.models.base import Method
from focuscli.storage.files import file_sha256


def build_method(config: ModelConfig, clip: CLIP, texts: Sequence[Text]) -> Method:
    """The model of `config.method` around a CLIP, on the CPU; everything else has random initial values.

    Raises:
        UsageError: there is no such method, or a text is empty or too long.
    """
    module, _, name = method_entry(config.method).model.partition(":")
    method: type[Method] = getattr(importlib.import_module(module), name)
    return method(clip, config, texts)


def new_method(config: RunConfig, texts: Sequence[Text], weights: Path | None) -> tuple[Method, str]:
    """The model that a run starts from, its random values drawn from the run's seed, and the origin of its weights.

    Args:
        weights: a CLIP weight file, or None for training from scratch.

    Raises:
        InputError: the weights' patch size or number of layers does not fit the configuration.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(config.train.seed)
        if weights is None:
            return build_method(config.model, CLIP(clip_config(config.model)), texts), SCRATCH
        clip, origin = load_clip(weights)
        found, wanted = clip.config.vision, config.model
        problem = ""
        if found.patch_size != wanted.patch_size:
            problem = f"has patches of {found.patch_size} pixels, but the configuration wants {wanted.patch_size}"
        elif wanted.layers > found.layers:
            problem = f"has {found.layers} layers, but model.layers={wanted.layers}"
        if problem:
            hint = "Use CLIP ViT-B/16 weights, or train from scratch with --weights none."
            raise InputError(f"{weights} {problem}.", hint)
        if wanted.layers:
            keep_layers(clip, wanted.layers)
        return build_method(config.model, clip, texts), origin


def saved_method(config: ModelConfig, texts: Sequence[Text], shape: Mapping[str, Any]) -> Method:
    """The model of a checkpoint before its tensors are loaded; `shape` is the "clip" of its state.json.

    Raises:
        KeyError, TypeError: a value of the shape is missing or unknown.
    """
    vision = VisionConfig(**{**shape["vision"], "image_size": tuple(shape["vision"]["image_size"])})
    clip = CLIPConfig(vision, TextConfig(**shape["text"]), shape["embed_dim"], shape["activation"])
    return build_method(config, CLIP(clip), texts)


def load_clip(weights: Path) -> tuple[CLIP, str]:
    """CLIP from a weight file, in fp32, and the origin of its weights.

    Raises:
        WeightsError: the file is damaged or of no known format.
    """
    from clip_impl.weights import load

    clip, _ = load(weights)
    return clip, weights_origin(weights)


def weights_origin(weights: Path | None) -> str:
    """Where initial weights come from, in the words of every checkpoint: file name and the start of its SHA-256."""
    return SCRATCH if weights is None else f"{weights.name} (sha256 {file_sha256(weights)[:12]})"


def clip_config(config: ModelConfig) -> CLIPConfig:
    """CLIP's shape for training from scratch: the preset with the configured input size, patch size and layers."""
    base = {"vit-b16": VIT_B_16, "tiny": TINY}[config.preset]
    vision = replace(
        base.vision,
        image_size=config.image_size,
        patch_size=config.patch_size,
        layers=config.layers or base.vision.layers,
    )
    return replace(base, vision=vision)


def keep_layers(clip: CLIP, layers: int) -> None:
    """Shorten the visual tower to its first layers, as POAR's code builds it (6 of 12)."""
    vision = clip.visual
    vision.config = replace(vision.config, layers=layers)
    vision.transformer.layers = layers
    vision.transformer.resblocks = vision.transformer.resblocks[:layers]
    clip.config = replace(clip.config, vision=vision.config)
