"""From configuration and weights to the model: the shapes that training from scratch may choose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_impl import CLIP, TINY
from focuscli.config import PRESETS, build_config, parse_override
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError
from focuscli.models.build import new_method

SQUARE = replace(TINY, vision=replace(TINY.vision, image_size=(64, 64)))
TEXTS = builtin_schema("synthetic").texts(complements=True)


def config(*overrides: str):
    return build_config([("tiny", PRESETS["tiny"]), *(("--set", parse_override(text)) for text in overrides)])[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights of a square input: 4 layers, patches of 8 pixels."""
    path = tmp_path_factory.mktemp("weights") / "tiny-laion.safetensors"
    torch.manual_seed(0)
    save_file({name: tensor.contiguous() for name, tensor in CLIP(SQUARE).state_dict().items()}, path)
    return path


def test_from_scratch_the_preset_is_the_default_and_patch_and_layers_can_be_chosen():
    model, origin = new_method(config(), TEXTS, None)
    assert (origin, model.clip.config.vision) == ("from scratch", TINY.vision)
    model, _ = new_method(config("model.patch=4", "model.layers=2", "model.image_size=64,32"), TEXTS, None)
    vision = model.clip.config.vision
    assert (vision.patch_size, vision.layers, vision.grid) == (4, 2, (16, 8))
    output = model(torch.randn(2, 3, 64, 32))
    assert output.tokens.shape[:2] == (2, 12)
    assert output.scores.shape == (2, len(TEXTS))


@pytest.mark.parametrize("layers", [0, 2, 4])
def test_of_weights_the_first_layers_are_kept(weights, layers):
    model, _ = new_method(config(f"model.layers={layers}"), TEXTS, weights)
    whole = load_file(weights)
    assert model.clip.config.vision.layers == len(model.clip.visual.transformer.resblocks) == (layers or 4)
    for name, tensor in model.clip.state_dict().items():
        assert torch.equal(tensor, whole[name])


@pytest.mark.parametrize(
    ("override", "words"),
    [("model.patch=4", "patches of 8 pixels .* wants patches of 4"), ("model.layers=6", "4 layers, but .* 6 layers")],
)
def test_weights_of_another_shape_are_refused(weights, override, words):
    with pytest.raises(InputError, match=words):
        new_method(config(override), TEXTS, weights)
