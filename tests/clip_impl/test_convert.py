"""Every layout of the same weights must give the same tensors, bit by bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clip_impl.convert import from_huggingface, from_timm, to_huggingface, to_openai_state_dict, to_timm
from clip_impl.errors import WeightsError
from clip_impl.weights import read_state_dict

Tensors = dict[str, Tensor]
ONE = torch.ones(1)


def assert_same(found: Tensors, wanted: Tensors) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def custom_text(tensors: Tensors) -> Tensors:
    return {n if n.startswith(("visual.", "logit_scale")) else f"text.{n}": tensor for n, tensor in tensors.items()}


POSITION_IDS = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
LAYOUTS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "plain": (lambda t: t, "openai"),
    "OpenAI's extra numbers": (lambda t: {**t, "input_resolution": torch.tensor(64)}, "openai"),
    "old buffers": (lambda t: {**t, "attn_mask": torch.zeros(77, 77)}, "openai"),
    "training": (lambda t: {**prefixed(t, "state_dict.module."), "optimizer.lr": ONE}, "openai"),
    "compiled": (lambda t: prefixed(t, "model._orig_mod.module."), "openai"),
    "training with EMA": (lambda t: prefixed(t, "state_dict.") | prefixed(t, "ema."), "openai"),
    "lightning": (lambda t: {**prefixed(t, "state_dict.clip_model."), "state_dict.head.weight": ONE}, "openai"),
    "logit_scale [1]": (lambda t: {**t, "logit_scale": t["logit_scale"].reshape(1)}, "openai"),
    "custom text": (custom_text, "open_clip-custom-text"),
    "Hugging Face": (to_huggingface, "huggingface"),
    "old Hugging Face": (lambda t: to_huggingface(t) | POSITION_IDS, "huggingface"),
    "wrapped Hugging Face": (lambda t: prefixed(to_huggingface(t), "backbone."), "huggingface"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_equal(layout: str, small: Tensors) -> None:
    make, name = LAYOUTS[layout]
    found, recognised = to_openai_state_dict(make(small))
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
        torch.save({"epoch": 3, "state_dict": small}, path, _use_new_zipfile_serialization=container == "pickle")
    weights = read_state_dict(path, activation="quick_gelu")
    assert_same(weights.tensors, tensors)
    assert weights.format == f"{container}/openai"


def test_there_and_back(vit_b_16: Tensors) -> None:
    assert len(vit_b_16) == 302
    theirs = to_huggingface(vit_b_16)
    assert len(theirs) == 398
    assert_same(from_huggingface(theirs), vit_b_16)
    visual = {name: tensor for name, tensor in vit_b_16.items() if name.startswith("visual.")}
    theirs = to_timm(vit_b_16)
    assert len(theirs) == len(visual) + 1
    assert not theirs["head.bias"].any()
    assert_same(from_timm(theirs), visual)


def test_what_transformers_saves(small: Tensors, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tower = {"intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "hidden_size": 64}
    vision = {"intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 128}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = transformers.CLIPConfig(
            text_config=tower, vision_config={**vision, "image_size": 64, "patch_size": 16}, projection_dim=96
        )
        model = transformers.CLIPModel(config)
        model.load_state_dict(to_huggingface(small), strict=True)
        model.save_pretrained(tmp_path)
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert (weights.format, weights.activation) == ("safetensors/huggingface", "quick_gelu")
    assert weights.activation_source == "config.json"
    # Older versions save a pickle.
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert weights.format == "pickle/huggingface"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": ONE}, "not those of a CLIP Vision Transformer"),
        ({"visual.attnpool.positional_embedding": ONE}, "ResNet"),
        ({"visual.conv1.weight": ONE, "logit_bias": ONE}, "SigLIP"),
        ({"visual.trunk.patch_embed.proj.weight": ONE}, "timm inside open_clip"),
        ({"patch_embed.proj.weight": ONE}, "not one of CLIP"),
        ({"patch_embed.proj.weight": ONE, "norm_pre.weight": ONE, "head.bias": ONE}, "classifier"),
        ({"a.visual.conv1.weight": ONE, "b.visual.conv1.weight": ONE}, "several models: a, b"),
        ({"model.a.visual.conv1.weight": ONE, "model.b.visual.conv1.weight": ONE}, "several models: model.a, model.b"),
    ],
)
def test_other_models_are_refused(content: Tensors, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        to_openai_state_dict(content)


def test_parts_that_do_not_fit_together(small: Tensors, tmp_path: Path) -> None:
    theirs = to_huggingface(small)
    theirs["vision_model.encoder.layers.0.self_attn.k_proj.weight"] = ONE
    save_file(theirs, tmp_path / "openai.bin")
    with pytest.raises(WeightsError, match="do not fit together"):
        read_state_dict(tmp_path / "openai.bin")
