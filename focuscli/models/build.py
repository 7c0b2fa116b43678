"""The one place that builds a method: for a new run, from a checkpoint, or around weights that are used as they are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from clip_impl import CLIP, TINY, VIT_B_16, CLIPConfig
from clip_impl.weights import load
from focuscli.config import SCRATCH, ModelConfig, RunConfig, method_entry
from focuscli.data.texts import Text
from focuscli.errors import InputError
from focuscli.models.base import Method
from focuscli.storage.files import file_sha256

_SHAPE = TypeAdapter(CLIPConfig)


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
        wanted = config.model
        if weights is None:
            base = {"vit-b16": VIT_B_16, "tiny": TINY}[wanted.preset]
            layers = wanted.layers or base.vision.layers
            shape = replace(base.vision, image_size=wanted.image_size, patch_size=wanted.patch_size, layers=layers)
            return build_method(wanted, CLIP(replace(base, vision=shape)), texts), SCRATCH
        clip, origin = load_clip(weights)
        found = clip.config.vision
        if found.patch_size != wanted.patch_size or wanted.layers > found.layers:
            raise InputError(
                f"{weights} has patches of {found.patch_size} pixels and {found.layers} layers, but the configuration wants "
                f"patches of {wanted.patch_size} and {wanted.layers or 'all'} layers.",
                "Use CLIP ViT-B/16 weights, or train from scratch with --weights none.",
            )
        if wanted.layers:  # the first ones, as POAR's code builds it (6 of 12)
            visual = clip.visual
            visual.config = replace(found, layers=wanted.layers)
            visual.transformer.layers = wanted.layers
            visual.transformer.resblocks = visual.transformer.resblocks[: wanted.layers]
            clip.config = replace(clip.config, vision=visual.config)
        return build_method(wanted, clip, texts), origin


def saved_method(
    config: ModelConfig, texts: Sequence[Text], shape: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Method:
    """The model of a checkpoint before its tensors are loaded.

    Args:
        shape: the "clip" of its state.json. tensors: how large the model may be, as a damaged shape can ask for any memory.

    Raises:
        ValueError: a value of the shape is missing or wrong, or it is the shape of a larger model.
    """
    clip = _SHAPE.validate_python(shape)
    with torch.device("meta"):
        needed = sum(value.numel() for value in build_method(config, CLIP(clip), texts).state_dict().values())
    if needed > (there := sum(value.numel() for value in tensors.values())):
        raise ValueError(f"it describes a model of {needed:,} numbers, but there are {there:,}")
    return build_method(config, CLIP(clip), texts)


def load_clip(weights: Path) -> tuple[CLIP, str]:
    """CLIP from a weight file, in fp32, and the origin of its weights.

    Raises:
        WeightsError: the file is damaged or of no known format.
    """
    return load(weights)[0], weights_origin(weights)


def weights_origin(weights: Path | None) -> str:
    """Where initial weights come from, in the words of every checkpoint: file name and the start of its SHA-256."""
    return SCRATCH if weights is None else f"{weights.name} (sha256 {file_sha256(weights)[:12]})"
