"""Reading weight files, telling their activation and shape, and the model that `load` builds."""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import clip_impl
from clip_impl.activations import find_activation
from clip_impl.config import VIT_B_16, CLIPConfig
from clip_impl.errors import WeightsError
from clip_impl.model import CLIP
from clip_impl.weights import OPENAI_SHA256, infer_config, load, read_state_dict

Tensors = dict[str, Tensor]


@pytest.fixture
def file(small: Tensors, tmp_path: Path) -> Path:
    path = tmp_path / "clip-openai.pt"
    torch.save(small, path)
    return path


def save(tensors: object, path: Path) -> Path:
    torch.save(tensors, path)
    return path


# --- load ---


def test_load_gives_the_model_of_the_file(small: Tensors, small_config: CLIPConfig, file: Path) -> None:
    model, preprocess = load(file)
    assert model.config == small_config
    assert not model.training
    assert all(torch.equal(tensor, small[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert preprocess == clip_impl.Preprocess(size=(64, 64), resize_mode="squash")
    with torch.inference_mode():
        features = model.encode_image(preprocess(Image.new("RGB", (30, 90), "red"))[None], normalize=True)
    assert features.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_model_does_not_hang_on_the_file(file: Path) -> None:
    model, _ = load(file)
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert torch.isfinite(model.encode_text(clip_impl.tokenize("a hat"))).all()


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
    assert model.encode_image(torch.zeros(1, 3, *size)).shape == (1, 96)


def test_image_size_that_does_not_divide(file: Path) -> None:
    with pytest.raises(ValueError, match="nearest that does: 96 x 64"):
        load(file, image_size=(100, 64))


def test_loading_takes_no_random_numbers(file: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    load(file)
    assert torch.equal(torch.rand(1), wanted)


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


def test_a_visual_tower_alone_is_no_model(small: Tensors, tmp_path: Path) -> None:
    visual = {name: tensor for name, tensor in small.items() if name.startswith("visual.")}
    with pytest.raises(WeightsError, match="only the visual tower"):
        load(save(visual, tmp_path / "openai.pt"))


# --- shapes ---


@pytest.mark.parametrize("width", [384, 768, 1024])
@pytest.mark.parametrize("patch", [14, 16, 32])
def test_infer_config_of_any_vision_transformer(width: int, patch: int) -> None:
    wanted = CLIPConfig(
        clip_impl.VisionConfig((224, 224), patch, width, layers=2, heads=width // 64),
        clip_impl.TextConfig(context_length=77, width=width // 3 * 2 // 64 * 64, layers=3, heads=width // 3 * 2 // 64),
        embed_dim=width // 2,
        activation="gelu",
    )
    with torch.device("meta"):
        tensors = CLIP(wanted).state_dict()
    assert infer_config(tensors, "gelu") == wanted


def test_vit_b_16_is_recognised(vit_b_16: Tensors) -> None:
    assert infer_config(vit_b_16, "quick_gelu") == VIT_B_16


def test_upright_positions_need_their_size(small: Tensors) -> None:
    upright = {**small, "visual.positional_embedding": torch.zeros(1 + 8 * 4, 128)}
    with pytest.raises(WeightsError, match="32 patches, which make no square"):
        infer_config(upright, "gelu")
    assert infer_config(upright, "gelu", image_size=(128, 64)).vision.image_size == (128, 64)
    with pytest.raises(WeightsError, match="no square"):
        infer_config(upright, "gelu", image_size=(128, 128))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("token_embedding.weight", (32000, 64), "vocabulary of 32000 tokens"),
        ("visual.conv1.weight", (128, 3, 16, 8), "no embedding of square patches"),
        ("visual.conv1.weight", (128, 3, 16), "want 4 dimensions"),
        ("visual.conv1.weight", (32, 3, 16, 16), "does not divide by 0 heads"),
        ("visual.positional_embedding", (1, 128), "0 patches"),
    ],
)
def test_impossible_shapes(name: str, shape: tuple[int, ...], message: str, small: Tensors) -> None:
    with pytest.raises(WeightsError, match=message):
        infer_config({**small, name: torch.empty(shape, device="meta")}, "gelu")


# --- activation ---


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
    assert find_activation(tmp_path / name, "pickle") == (activation, "file name")


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
    assert find_activation(tmp_path / "model.bin", "pickle") == (activation, name)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "bert"}', '{"architecture": "resnet50"}'])
def test_unknown_activation_warns(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.warns(UserWarning, match="does not tell its activation"):
        assert find_activation(tmp_path / "model.bin", "pickle") == ("quick_gelu", "default")


def test_unusable_activations(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='Unknown activation "relu"'):
        find_activation(tmp_path / "model.bin", "pickle", "relu")
    towers = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "quick_gelu"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    with pytest.raises(WeightsError, match="two activations, gelu and quick_gelu"):
        find_activation(tmp_path / "model.bin", "pickle")


# --- files ---


def test_digest_and_its_omission(file: Path) -> None:
    import hashlib

    assert read_state_dict(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_state_dict(file, verify=False).sha256 == ""


def test_another_file_under_openais_name_is_noted(small, write_torchscript, tmp_path, caplog) -> None:
    path = tmp_path / "ViT-B-16.pt"
    write_torchscript(small, path)
    with caplog.at_level(logging.WARNING, logger="clip_impl"):
        weights = read_state_dict(path)
    assert weights.sha256 != OPENAI_SHA256["ViT-B-16.pt"]
    assert "not the file that OpenAI published" in caplog.text


def test_infinite_values(small: Tensors, tmp_path: Path) -> None:
    broken = {**small, "ln_final.bias": torch.full_like(small["ln_final.bias"], torch.nan)}
    path = save(broken, tmp_path / "openai.pt")
    with pytest.raises(WeightsError, match=r"1 tensors hold .* ln_final.bias"):
        read_state_dict(path)
    assert not read_state_dict(path, verify=False).visual_only


class RunsOnLoading:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_run_nothing(zipped: bool, small: Tensors, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "openai.pt"
    torch.save({**small, "evil": RunsOnLoading(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"besides tensors it holds an object of (posix|nt)\.system"):
        read_state_dict(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("content", [torch.nn.Linear(2, 2), {"args": argparse.Namespace(a=1)}])
def test_pickled_modules_are_refused_with_advice(content: object, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read_state_dict(save(content, tmp_path / "openai.pt"))
    assert "is refused" in caught.value.problem
    assert "torch.save(model.state_dict()" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n0000", "it starts with 89 50"),
        (b"PK\x03\x04" + bytes(100), "damaged or cut off"),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "damaged or cut off"),
        ((20).to_bytes(8, "little") + b'{"a": ' + bytes(40), "damaged or cut off"),
    ],
)
def test_files_that_are_no_weights(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_state_dict(path)


@pytest.mark.parametrize("kind", ["pickle", "pickle-legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.3, 0.95])
def test_cut_off_files(kind: str, kept: float, small: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "openai.pt"
    if kind == "safetensors":
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=kind == "pickle")
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(WeightsError, match="damaged or cut off"):
        read_state_dict(path)


def test_zip_of_something_else(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="not one of torch"):
        read_state_dict(tmp_path / "a.pt")


def test_missing_files_and_folders(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="is a folder without"):
        load(tmp_path)
    file.rename(tmp_path / "pytorch_model.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_state_dict(tmp_path).format == "pickle/openai"
