"""The same weights must give the same features here and in four other libraries."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import packaging.version
import pytest
import torch
from torch import Tensor, nn

from clip_impl.config import VIT_B_16
from clip_impl.convert import HUGGINGFACE, TIMM, to_openai_state_dict

pytestmark = pytest.mark.filterwarnings("ignore")
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def upright() -> Tensor:
    return torch.randn(1, 3, 256, 128, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def ours(build, vit_b_16: dict[str, Tensor], image: Tensor, upright: Tensor, ids: Tensor) -> dict[str, Tensor]:
    model = build(vit_b_16, VIT_B_16)
    with torch.inference_mode():
        images = {"image": model.encode_image(image), "upright": model.encode_image(upright)}
        return {**images, "text": model.encode_text(ids)}


def assert_close(one: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> None:
    assert float((one.double() - other.double()).abs().max()) < tolerance


def assert_converted(theirs: nn.Module, layout: str, tensors: dict[str, Tensor]) -> None:
    """Their state dict gives the same tensors under OpenAI's names, bit by bit."""
    found, recognised, _ = to_openai_state_dict(theirs.state_dict())
    assert recognised == layout
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_openai(vit_b_16: dict[str, Tensor], image, ids, ours, monkeypatch) -> None:
    if importlib.util.find_spec("pkg_resources") is None:  # which the package wants only for its re-export of packaging
        monkeypatch.setitem(sys.modules, "pkg_resources", SimpleNamespace(packaging=packaging))
    theirs = pytest.importorskip("clip.model").build_model(dict(vit_b_16)).float().eval()
    assert_close(ours["image"], theirs.encode_image(image))
    assert_close(ours["text"], theirs.encode_text(ids))


def test_open_clip(vit_b_16: dict[str, Tensor], upright, ids, ours) -> None:
    open_clip = pytest.importorskip("open_clip")
    # Its own resampling of the positional embedding.
    theirs = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False, force_image_size=(256, 128)).eval()
    resized = dict(vit_b_16)
    open_clip.model.resize_pos_embed(resized, theirs)
    theirs.load_state_dict(resized, strict=True)
    assert_close(ours["upright"], theirs.encode_image(upright))
    assert_close(ours["text"], theirs.encode_text(ids))


def test_timm(in_layout, vit_b_16: dict[str, Tensor], image, upright, ours) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=512, dynamic_img_size=True).eval()
    bias = {"head.bias": torch.zeros(512)}
    converted = in_layout(vit_b_16, theirs.state_dict().keys() - bias, TIMM)
    theirs.load_state_dict({n: t.view_as(theirs.state_dict()[n]) for n, t in (converted | bias).items()}, strict=True)
    assert_converted(theirs, "timm", {name: t for name, t in vit_b_16.items() if name.startswith("visual.")})
    assert_close(ours["image"], theirs(image))
    assert_close(ours["upright"], theirs(upright))


def test_huggingface(in_layout, vit_b_16: dict[str, Tensor], image, ids, ours) -> None:
    transformers = pytest.importorskip("transformers")
    projection = {"projection_dim": 512}
    config = transformers.CLIPConfig(
        text_config={"eos_token_id": 49407, **projection}, vision_config={"patch_size": 16, **projection}, **projection
    )
    theirs = transformers.CLIPModel(config).eval()
    theirs.load_state_dict(in_layout(vit_b_16, theirs.state_dict(), HUGGINGFACE), strict=True)
    assert_converted(theirs, "huggingface", vit_b_16)
    output = theirs(input_ids=ids, pixel_values=image)
    # Its outputs are normalised.
    assert_close(nn.functional.normalize(ours["image"], dim=-1), output.image_embeds, TOLERANCE / 10)
    assert_close(nn.functional.normalize(ours["text"], dim=-1), output.text_embeds, TOLERANCE / 10)
