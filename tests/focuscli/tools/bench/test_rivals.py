"""The same weights give the same features in every rival, at a size that takes no time."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from clip_impl import CLIPConfig, TextConfig, VisionConfig
from focuscli.tools.bench import rivals
from focuscli.tools.bench.models import random_clip, random_images

CONFIG = CLIPConfig(
    vision=VisionConfig(image_size=(64, 64), patch_size=16, width=128, layers=2, heads=2),
    text=TextConfig(width=64, layers=1, heads=1),
    embed_dim=96,
)


@pytest.fixture(scope="module")
def clip():
    return random_clip(CONFIG)


@pytest.mark.parametrize("rival", rivals.RIVALS, ids=lambda rival: rival.module)
def test_a_rival_has_our_features(rival, clip, monkeypatch):
    pytest.importorskip("timm" if rival.module == "clip" else rival.module)
    monkeypatch.setattr(rivals, "RIVALS", (rival,))
    towers, missing = rivals.build_rivals(clip.state_dict(), CONFIG, torch.device("cpu"))
    assert not missing, missing
    images = random_images(2, (64, 64))
    with torch.inference_mode():
        ours, theirs = clip.visual(images), towers[rival.name](images)
    # Hugging Face's tower does not normalise; none of these does.
    assert torch.allclose(ours, theirs, atol=2e-5)


def test_random_weights_are_exact_in_fp16_and_no_bias_is_zero(clip):
    for name, tensor in clip.state_dict().items():
        assert torch.equal(tensor, tensor.half().float()), name
        if name.endswith("bias"):
            assert tensor.abs().max() > 0, name


def test_another_shape_is_refused_and_says_why(clip):
    upright = replace(CONFIG, vision=replace(CONFIG.vision, image_size=(64, 32)))
    towers, missing = rivals.build_rivals(clip.state_dict(), upright, torch.device("cpu"))
    assert not towers
    assert {item.name for item in missing} == {rival.name for rival in rivals.RIVALS}


def test_what_is_not_installed_names_the_package(clip, monkeypatch):
    gone = replace(rivals.RIVALS[0], module="no_such_module_here")
    monkeypatch.setattr(rivals, "RIVALS", (gone,))
    _, missing = rivals.build_rivals(clip.state_dict(), CONFIG, torch.device("cpu"))
    assert "clip-anytorch" in missing[0].reason


def test_one_that_breaks_leaves_the_others(clip, monkeypatch):
    def broken(*_):
        raise ImportError("undefined symbol")

    monkeypatch.setattr(rivals, "RIVALS", (replace(rivals.RIVALS[0], build=broken), rivals.RIVALS[2]))
    towers, missing = rivals.build_rivals(clip.state_dict(), CONFIG, torch.device("cpu"))
    assert [*towers] == ["timm fp32"]
    assert "undefined symbol" in missing[0].reason


def test_the_stand_in_for_pkg_resources_does_not_stay():
    pytest.importorskip("clip", reason="clip-anytorch is not installed") if "pkg_resources" in sys.modules else None
    before = "pkg_resources" in sys.modules
    try:
        with rivals.openai_package() as package:
            assert hasattr(package, "build_model")
    except ModuleNotFoundError:
        pytest.skip("clip-anytorch is not installed")
    assert ("pkg_resources" in sys.modules) == before
