"""Reading weight files, inferring their shape and activation, and the model that `load` builds."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import clip_impl
from clip_impl.config import CLIPConfig
from clip_impl.convert import to_timm
from clip_impl.errors import WeightsError
from clip_impl.infer import infer_activation, infer_config
from clip_impl.model import CLIP
from clip_impl.weights import OPENAI_SHA256, load, read_state_dict

Tensors = dict[str, Tensor]


@pytest.fixture
def file(small: Tensors, tmp_path: Path) -> Path:
    return save(small, tmp_path / "clip-openai.pt")


def save(tensors: object, path: Path) -> Path:
    torch.save(tensors, path)
    return path


# load


def test_load_gives_the_model_of_the_file(small: Tensors, small_config: CLIPConfig, file: Path) -> None:
    torch.manual_seed(3)
    model, preprocess = load(file)
    assert torch.initial_seed() == 3
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(3)))  # None were taken.
    assert model.config == small_config
    assert not model.training
    assert all(torch.equal(tensor, small[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert preprocess == clip_impl.Preprocess(size=(64, 64), resize_mode="squash")
    assert read_state_dict(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    with torch.inference_mode():
        features = model.encode_image(preprocess(Image.new("RGB", (30, 90), "red"))[None], normalize=True)
    assert features.norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_the_model_is_independent_of_the_file(kind: str, file: Path, small: Tensors) -> None:
    if kind == "safetensors":
        save_file(small, file)
    model, _ = load(file)
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert all(torch.equal(tensor, small[name]) for name, tensor in model.state_dict().items())


def test_half_precision_files_are_exact_in_fp32(small: Tensors, write_torchscript, tmp_path: Path) -> None:
    write_torchscript(small, tmp_path / "net.pt")
    model, _ = load(tmp_path / "net.pt")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(tensor, small[name]) for name, tensor in model.state_dict().items())
    half, _ = load(tmp_path / "net.pt", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(("asked", "size"), [(32, (32, 32)), ((128, 64), (128, 64))])
def test_image_size(asked: int | tuple[int, int], size: tuple[int, int], file: Path) -> None:
    model, preprocess = load(file, image_size=asked)
    assert preprocess.size == size
    with pytest.raises(ValueError, match="nearest that does: 96 x 64"):
        load(file, image_size=(100, 64))
    assert model.encode_image(torch.zeros(1, 3, *size)).shape == (1, 96)


def test_all_that_does_not_fit_is_listed_at_once(small: Tensors, tmp_path: Path) -> None:
    broken = dict(small)
    del broken["ln_final.bias"], broken["visual.ln_post.weight"]
    broken["visual.extra"] = torch.ones(1)
    broken["transformer.resblocks.1.mlp.c_fc.bias"] = torch.ones(3)
    with pytest.raises(WeightsError) as caught:
        load(save(broken, tmp_path / "openai.pt"))
    for part in (
        "openai.pt: ",
        "2 missing: visual.ln_post.weight, ln_final.bias",
        "1 unexpected: visual.extra",
        "1 of another shape: transformer.resblocks.1.mlp.c_fc.bias [3], want [256]",
    ):
        assert part in caught.value.problem


def test_a_visual_tower_alone_is_not_a_model(small: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "vit_small_patch16_clip_quickgelu_64.safetensors"
    save_file(to_timm(small), path)
    weights = read_state_dict(path)
    assert (weights.format, weights.activation) == ("safetensors/timm", "quick_gelu")
    with pytest.raises(WeightsError, match="only the visual tower"):
        load(path)


# Shapes


@pytest.mark.parametrize(("width", "patch"), [(384, 32), (768, 16), (768, 32), (1024, 14)])
def test_infer_config_of_any_vision_transformer(width: int, patch: int) -> None:
    text_width = width // 3 * 2 // 64 * 64
    wanted = CLIPConfig(
        clip_impl.VisionConfig((224, 224), patch, width, layers=2, heads=width // 64),
        clip_impl.TextConfig(context_length=77, width=text_width, layers=3, heads=text_width // 64),
        embed_dim=width // 2,
        activation="gelu",
    )
    with torch.device("meta"):
        tensors = CLIP(wanted).state_dict()
    assert infer_config(tensors, "gelu") == wanted


def test_upright_positions_need_their_size(small: Tensors) -> None:
    upright = {**small, "visual.positional_embedding": torch.zeros(1 + 8 * 4, 128)}
    with pytest.raises(WeightsError, match="32 patches, which do not form a square"):
        infer_config(upright, "gelu")
    assert infer_config(upright, "gelu", image_size=(128, 64)).vision.image_size == (128, 64)
    with pytest.raises(WeightsError, match="not form a square"):
        infer_config(upright, "gelu", image_size=(128, 128))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("token_embedding.weight", (32000, 64), "vocabulary of 32000 tokens"),
        ("visual.conv1.weight", (128, 3, 16, 8), "does not embed square patches"),
        ("visual.conv1.weight", (128, 3, 16), "want 4 dimensions"),
        ("visual.conv1.weight", (32, 3, 16, 16), "does not divide by 0 heads"),
        ("visual.positional_embedding", (1, 128), "0 patches"),
    ],
)
def test_impossible_shapes(name: str, shape: tuple[int, ...], message: str, small: Tensors) -> None:
    with pytest.raises(WeightsError, match=message):
        infer_config({**small, name: torch.empty(shape, device="meta")}, "gelu")


# Activation


def test_activation_of_torchscript(small: Tensors, write_torchscript, tmp_path: Path) -> None:
    path = tmp_path / "laion.pt"
    write_torchscript(small, path)
    weights = read_state_dict(path)
    assert (weights.activation, weights.activation_source) == ("quick_gelu", "OpenAI's TorchScript")
    assert load(path, activation="gelu")[0].config.activation == "gelu"


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("ViT-B-16.pt", "quick_gelu"),
        ("vit_b_16-laion400m_e32-55e67d44.pt", "gelu"),
        ("ViT-B-16-quickgelu-laion400m.pt", "quick_gelu"),
        ("datacomp_xl_s13b_b90k.bin", "gelu"),
        ("metaclip_400m.pt", "quick_gelu"),
    ],
)
def test_activation_by_file_name(name: str, activation: str, tmp_path: Path) -> None:
    assert infer_activation(tmp_path / name, "pickle") == (activation, "file name")


@pytest.mark.parametrize(
    ("name", "config", "activation"),
    [
        ("open_clip_config.json", {"model_cfg": {"embed_dim": 512, "quick_gelu": True}}, "quick_gelu"),
        ("open_clip_config.json", {"model_cfg": {"embed_dim": 512}}, "gelu"),
        ("config.json", {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}, "gelu"),
        ("config.json", {"model_type": "clip", "vision_config": {}, "text_config": {}}, "quick_gelu"),
        ("config.json", {"model_type": "clip_vision_model", "hidden_act": "gelu"}, "gelu"),
        ("config.json", {"architecture": "vit_base_patch16_clip_quickgelu_224"}, "quick_gelu"),
        ("config.json", {"architecture": "vit_base_patch16_clip_224", "pretrained_cfg": {"tag": "laion2b"}}, "gelu"),
        (
            "config.json",
            {"architecture": "vit_base_patch16_clip_224", "pretrained_cfg": {"tag": "openai"}},
            "quick_gelu",
        ),
        ("model.bin.json", {"activation": "gelu", "sha256": "00"}, "gelu"),
    ],
)
def test_activation_by_neighbour(name: str, config: dict[str, object], activation: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(config))
    assert infer_activation(tmp_path / "model.bin", "pickle") == (activation, name)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "bert"}', '{"architecture": "resnet50"}'])
def test_unknown_activation_warns(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.warns(UserWarning, match=r"activation of model\.bin is unknown"):
        assert infer_activation(tmp_path / "model.bin", "pickle") == ("quick_gelu", "default")


def test_unusable_activations(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='Unknown activation "relu"'):
        infer_activation(tmp_path / "model.bin", "pickle", "relu")
    towers = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "quick_gelu"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    with pytest.raises(WeightsError, match="two activations, gelu and quick_gelu"):
        infer_activation(tmp_path / "model.bin", "pickle")


# Files


def test_another_file_under_openais_name_is_noted(small, write_torchscript, tmp_path, caplog) -> None:
    path = tmp_path / "ViT-B-16.pt"
    write_torchscript(small, path)
    with caplog.at_level(logging.WARNING, logger="clip_impl"):
        weights = read_state_dict(path)
    assert weights.sha256 != OPENAI_SHA256["ViT-B-16.pt"]
    assert "not the file that OpenAI published" in caplog.text


def test_infinite_values(small: Tensors, tmp_path: Path) -> None:
    broken = {**small, "ln_final.bias": torch.full_like(small["ln_final.bias"], torch.nan)}
    with pytest.raises(WeightsError, match=r"infinite values or NaN in ln_final\.bias\."):
        read_state_dict(save(broken, tmp_path / "openai.pt"))


def test_missing_files_and_folders(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="is a folder without"):
        load(tmp_path)
    file.rename(tmp_path / "pytorch_model.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_state_dict(tmp_path).format == "pickle/openai"
