"""Augmentation of batches: against the definition image by image, the range of the choices, and exact repeatability."""

from __future__ import annotations

import hashlib

import pytest
import torch

from clip_impl import preprocess
from focuscli.config import AugmentConfig
from focuscli.data.augment import apply, apply_singly, augment, draw_params
from focuscli.data.loader import normalise

STILL = AugmentConfig(margin=0, flip=0, brightness=0, contrast=0, saturation=0, erase=0)
LUMA, MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.299, 0.587, 0.114), preprocess.MEAN, preprocess.STD))
SIZE = (16, 8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=64, height=20, width=12):
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator(9))


def by_definition(image, params, number):
    """One image [H', W', 3] through all steps, each written out."""
    top, left = int(params.top[number]), int(params.left[number])
    x = image[top : top + SIZE[0], left : left + SIZE[1]].permute(2, 0, 1).double() / 255
    if params.mirrored[number]:
        x = x.flip(2)
    x = (x * params.brightness[number]).clamp(0, 1)
    mean = (x * LUMA).sum(dim=0).mean()
    x = (mean + params.contrast[number] * (x - mean)).clamp(0, 1)
    grey = (x * LUMA).sum(dim=0)
    x = ((grey + params.saturation[number] * (x - grey)).clamp(0, 1) - MEAN) / STD
    y0, y1, x0, x1 = params.erased[number].tolist()
    x[:, y0:y1, x0:x1] = 0
    return x.float()


@pytest.mark.parametrize("way", [apply_singly, apply])
@pytest.mark.parametrize("planar", [False, True])
def test_a_batch_is_what_each_image_becomes_alone(way, planar):
    images = pictures(16)
    params = draw_params(16, (20, 12), SIZE, AugmentConfig(), generator(4))
    assert 0 < (params.erased[:, 1] > params.erased[:, 0]).sum() < 16
    assert 0 < params.mirrored.sum() < 16
    wanted = torch.stack([by_definition(image, params, number) for number, image in enumerate(images)])
    if planar:
        images = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.allclose(way(images, SIZE, params), wanted, atol=2e-6)


def test_the_generator_alone_decides_and_its_numbers_mean_what_they_always_meant():
    before = pictures()
    first, second, other = (augment(pictures(), SIZE, AugmentConfig(), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == (64, 3, *SIZE)
    assert torch.equal(before, pictures())
    part = augment(pictures()[4:9], SIZE, AugmentConfig(), generator(1), start=4, total=64)
    assert torch.equal(part, first[4:9])
    params = draw_params(12, (72, 40), (64, 32), AugmentConfig(), generator(7))
    choices = torch.cat([params.top, params.left, params.mirrored, params.erased.flatten()]).int()
    assert hashlib.sha256(choices.numpy().tobytes()).hexdigest()[:16] == "109066f7032bcb80"


def test_choices_fill_their_range():
    config = AugmentConfig(flip=0.5, brightness=0.2, contrast=0.5, saturation=0.8)
    params = draw_params(4000, (20, 12), SIZE, config, generator())
    offsets = {(int(top), int(left)) for top, left in zip(params.top, params.left, strict=True)}
    assert offsets == {(top, left) for top in range(5) for left in range(5)}
    assert 0.47 < params.mirrored.float().mean() < 0.53
    for factor, strength in ((params.brightness, 0.2), (params.contrast, 0.5), (params.saturation, 0.8)):
        assert 1 - strength <= factor.min() < 1 - 0.99 * strength
        assert 1 + 0.99 * strength < factor.max() <= 1 + strength
    config = AugmentConfig(margin=0, erase=0.5, erase_area=(0.05, 0.05))
    params = draw_params(2000, (64, 32), (64, 32), config, generator())
    top, bottom, left, right = params.erased.T
    assert min(top.min(), left.min()) >= 0
    assert bottom.max() <= 64
    assert right.max() <= 32
    touched = bottom > top
    assert 0.45 < touched.float().mean() < 0.55
    area = ((bottom - top) * (right - left))[touched] / (64 * 32)
    assert abs(area.mean() - 0.05) < 0.005


def test_without_augmentation_images_are_what_evaluation_sees():
    images = pictures(8)
    found = augment(images, (20, 12), STILL, generator())
    assert torch.allclose(found, normalise(images, torch.device("cpu")), atol=1e-6)
