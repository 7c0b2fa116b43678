"""Preprocessing against torchvision on Pillow images, which is what OpenAI's own transform is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from clip_impl.preprocess import MEAN, STD, Preprocess

SIZES = [(76, 208), (208, 76), (224, 224), (225, 224), (31, 517), (1, 1), (223, 447)]


def picture(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise on a gradient, (width, height)."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 120, (size[1], size[0], 4)) + np.linspace(0, 130, size[0])[None, :, None]
    image = Image.fromarray(pixels.astype(np.uint8))
    return image if mode == "RGBA" else image.convert(mode)


@pytest.fixture(scope="module")
def transforms():
    return pytest.importorskip("torchvision.transforms", exc_type=ImportError)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("target", "mode"),
    [*(("OpenAI's", mode) for mode in ("RGB", "L", "P", "RGBA", "LA")), ((224, 224), "RGB"), ((128, 64), "RGB")],
)
def test_equals_torchvision(size, target, mode, transforms):
    bicubic = transforms.InterpolationMode.BICUBIC
    if target == "OpenAI's":
        ours = Preprocess(resize_mode="shortest")
        steps = [transforms.Resize(224, bicubic), transforms.CenterCrop(224), lambda image: image.convert("RGB")]
    else:
        ours = Preprocess(size=target)
        steps = [transforms.Resize(target, bicubic)]
    image = picture(size, mode)
    before = image.tobytes()
    theirs = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])(image)
    result = ours(image)
    assert (result.shape, result.dtype) == ((3, *ours.size), torch.float32)
    assert (result - theirs).abs().max() < 1e-6
    assert (image.mode, image.size, image.tobytes()) == (mode, size, before)
