"""Every format of the same weights must give the same tensors, bit by bit."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clip_impl.errors import WeightsError
from clip_impl.formats import canonical, from_huggingface, from_timm, to_huggingface, to_timm, unwrap
from clip_impl.weights import read_state_dict

Tensors = dict[str, Tensor]


def assert_same(found: Tensors, wanted: Tensors) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def custom_text(tensors: Tensors) -> Tensors:
    return {
        name if name.startswith(("visual.", "logit_scale")) else f"text.{name}": tensor
        for name, tensor in tensors.items()
    }


LAYOUTS: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "plain": (lambda t: t, "openai"),
    "OpenAI's extra numbers": (lambda t: {**t, "input_resolution": torch.tensor(64)}, "openai"),
    "old buffers": (lambda t: {**t, "attn_mask": torch.zeros(77, 77)}, "openai"),
    "training": (
        lambda t: {"epoch": 3, "name": "run", "state_dict": prefixed(t, "module."), "optimizer": {}},
        "openai",
    ),
    "compiled": (lambda t: {"model": prefixed(t, "_orig_mod.module.")}, "openai"),
    "lightning": (lambda t: {"state_dict": {**prefixed(t, "clip_model."), "head.weight": torch.ones(2, 2)}}, "openai"),
    "logit_scale [1]": (lambda t: {**t, "logit_scale": t["logit_scale"].reshape(1)}, "openai"),
    "custom text": (custom_text, "open_clip-custom-text"),
    "Hugging Face": (to_huggingface, "huggingface"),
    "old Hugging Face": (
        lambda t: {**to_huggingface(t), "text_model.embeddings.position_ids": torch.arange(77)[None]},
        "huggingface",
    ),
    "wrapped Hugging Face": (lambda t: prefixed(to_huggingface(t), "backbone."), "huggingface"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_equal(layout: str, small: Tensors) -> None:
    make, name = LAYOUTS[layout]
    found, recognised = canonical(make(small))
    assert_same(found, small)
    assert recognised == name


@pytest.mark.parametrize("container", ["torchscript", "pickle", "pickle-legacy", "safetensors"])
def test_containers_are_equal(container: str, small: Tensors, as_openai, write_torchscript, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    tensors = small
    if container == "torchscript":
        write_torchscript(small, path)
        tensors = as_openai(small)
    elif container == "safetensors":
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=container == "pickle")
    weights = read_state_dict(path, activation="quick_gelu")
    assert_same(weights.tensors, tensors)
    assert weights.format == f"{container}/openai"
    assert not weights.visual_only


def test_huggingface_there_and_back(small: Tensors) -> None:
    theirs = to_huggingface(small)
    assert_same(from_huggingface(theirs), small)
    projection = theirs["text_projection.weight"]
    assert torch.equal(projection, small["text_projection"].T)
    assert projection.is_contiguous()


def test_timm_there_and_back(small: Tensors) -> None:
    theirs = to_timm(small)
    assert not theirs["head.bias"].any()
    assert_same(from_timm(theirs), {name: t for name, t in small.items() if name.startswith("visual.")})


def test_all_names_of_vit_b_16(vit_b_16: Tensors) -> None:
    assert len(vit_b_16) == 302
    assert sum(tensor.numel() for tensor in vit_b_16.values()) == 149_620_737
    assert len(to_huggingface(vit_b_16)) == 398
    assert len(to_timm(vit_b_16)) == 1 + sum(name.startswith("visual.") for name in vit_b_16)


def test_what_transformers_saves(small: Tensors, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = transformers.CLIPConfig(
            text_config={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1},
            vision_config={
                "hidden_size": 128,
                "intermediate_size": 512,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "image_size": 64,
                "patch_size": 16,
            },
            projection_dim=96,
        )
        model = transformers.CLIPModel(config)
        model.load_state_dict(to_huggingface(small), strict=True)
        model.save_pretrained(tmp_path)
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert (weights.format, weights.activation) == ("safetensors/huggingface", "quick_gelu")
    assert weights.activation_source == "config.json"
    changed = json.loads((tmp_path / "config.json").read_text())
    for tower in ("vision_config", "text_config"):
        changed[tower]["hidden_act"] = "gelu"
    (tmp_path / "config.json").write_text(json.dumps(changed))
    assert read_state_dict(tmp_path).activation == "gelu"


def test_visual_tower_alone(small: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "vit_small_patch16_clip_quickgelu_64.safetensors"
    save_file(to_timm(small), path)
    weights = read_state_dict(path)
    assert weights.visual_only
    assert (weights.format, weights.activation) == ("safetensors/timm", "quick_gelu")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "list instead of named tensors"),
        ({"epoch": 1}, "holds no tensors"),
        ({"conv1.weight": torch.ones(1)}, "not those of a CLIP Vision Transformer"),
        ({"visual.attnpool.positional_embedding": torch.ones(1)}, "ResNet"),
        ({"visual.conv1.weight": torch.ones(1), "logit_bias": torch.ones(1)}, "SigLIP"),
        ({"visual.trunk.patch_embed.proj.weight": torch.ones(1)}, "timm inside of open_clip"),
        ({"patch_embed.proj.weight": torch.ones(1)}, "none of CLIP"),
        ({"a.visual.conv1.weight": torch.ones(1), "b.visual.conv1.weight": torch.ones(1)}, "several models: a, b"),
    ],
)
def test_refusals(content: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        canonical(content)


def test_a_classifier_is_refused(small: Tensors) -> None:
    theirs = to_timm(small)
    theirs["head.bias"] = theirs["head.bias"] + 1
    with pytest.raises(WeightsError, match="classifier"):
        from_timm(theirs)


def test_unwrap_ends_on_a_circle() -> None:
    circle: dict[str, object] = {}
    circle["model"] = circle
    with pytest.raises(WeightsError, match="no tensors"):
        unwrap(circle)
