"""Every layout of the same weights must give the same tensors, bit by bit."""

from __future__ import annotations

import json
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


LAYOUTS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "plain": (lambda t: t, "openai"),
    "OpenAI's extra numbers": (lambda t: {**t, "input_resolution": torch.tensor(64)}, "openai"),
    "old buffers": (lambda t: {**t, "attn_mask": torch.zeros(77, 77)}, "openai"),
    "training": (lambda t: {**prefixed(t, "state_dict.module."), "optimizer.lr": torch.ones(1)}, "openai"),
    "compiled": (lambda t: prefixed(t, "model._orig_mod.module."), "openai"),
    "training with EMA": (lambda t: prefixed(t, "state_dict.") | prefixed(t, "ema."), "openai"),
    "lightning": (
        lambda t: prefixed(t, "state_dict.clip_model.") | {"state_dict.head.weight": torch.ones(2)},
        "openai",
    ),
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


def test_there_and_back(small: Tensors) -> None:
    theirs = to_huggingface(small)
    assert_same(from_huggingface(theirs), small)
    assert torch.equal(theirs["text_projection.weight"], small["text_projection"].T)
    assert theirs["text_projection.weight"].is_contiguous()
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
    # Older versions save a pickle.
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert weights.format == "pickle/huggingface"


ONE = torch.ones(1)


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
