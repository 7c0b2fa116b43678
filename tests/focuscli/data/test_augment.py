"""Augmentation of batches: against the definition image by image, what is drawn, and that the generator alone decides."""

from __future__ import annotations

import pytest
import torch

from focuscli.config import AugmentConfig
from focuscli.data.augment import SharedDraws, apply, apply_singly, draw, erase, jitter, training_images
from focuscli.data.loader import normalise

STILL = AugmentConfig(margin=0, flip=0, brightness=0, contrast=0, saturation=0, erase=0)
LUMA = torch.tensor((0.299, 0.587, 0.114))[:, None, None]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=64, height=20, width=12):
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator(9))


def by_definition(image, size, draws, number):
    """One image [H', W', 3] through all steps, each written out."""
    top, left = int(draws.top[number]), int(draws.left[number])
    x = image[top : top + size[0], left : left + size[1]].permute(2, 0, 1).double() / 255
    if draws.mirrored[number]:
        x = x.flip(2)
    x = (x * draws.brightness[number]).clamp(0, 1)
    mean = (x * LUMA).sum(dim=0).mean()
    x = (mean + draws.contrast[number] * (x - mean)).clamp(0, 1)
    grey = (x * LUMA).sum(dim=0)
    x = (grey + draws.saturation[number] * (x - grey)).clamp(0, 1)
    x = normalise(x)
    y0, y1, x0, x1 = draws.erased[number].tolist()
    x[:, y0:y1, x0:x1] = 0
    return x.float()


@pytest.mark.parametrize("way", [apply_singly, apply])
@pytest.mark.parametrize("planar", [False, True])
def test_a_batch_is_what_each_image_becomes_alone(way, planar):
    images, size = pictures(16), (16, 8)
    draws = draw(images.shape, size, AugmentConfig(), generator(4))
    if planar:
        images = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    found = way(images, size, draws)
    wanted = torch.stack([by_definition(image, size, draws, number) for number, image in enumerate(images)])
    assert (draws.erased[:, 1] > draws.erased[:, 0]).any()
    assert (draws.erased[:, 1] == draws.erased[:, 0]).any()
    assert draws.mirrored.any()
    assert not draws.mirrored.all()
    assert torch.allclose(found, wanted, atol=2e-6)


def test_the_same_generator_state_gives_the_same_batch():
    config = AugmentConfig()
    before = pictures()
    first, second = (training_images(pictures(), (16, 8), config, generator(1)) for _ in range(2))
    other = training_images(pictures(), (16, 8), config, generator(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == (64, 3, 16, 8)
    assert torch.equal(before, pictures())


def test_a_part_of_a_batch_becomes_what_it_becomes_in_the_whole():
    config, size = AugmentConfig(), (16, 8)
    whole = training_images(pictures(12), size, config, generator(1))
    part = training_images(pictures(12)[4:9], size, config, SharedDraws(generator(1), 4, 12))
    assert torch.equal(part, whole[4:9])


def test_every_offset_occurs_and_half_are_mirrored():
    draws = draw(torch.Size((4000, 20, 12, 3)), (16, 8), AugmentConfig(flip=0.5), generator())
    assert {(int(top), int(left)) for top, left in zip(draws.top, draws.left, strict=True)} == {
        (top, left) for top in range(5) for left in range(5)
    }
    assert 0.47 < draws.mirrored.float().mean() < 0.53


def test_factors_fill_their_range():
    config = AugmentConfig(brightness=0.2, contrast=0.5, saturation=0.8)
    draws = draw(torch.Size((4000, 20, 12, 3)), (16, 8), config, generator())
    for factor, strength in ((draws.brightness, 0.2), (draws.contrast, 0.5), (draws.saturation, 0.8)):
        assert 1 - strength <= factor.min() < 1 - 0.99 * strength
        assert 1 + 0.99 * strength < factor.max() <= 1 + strength


def test_without_augmentation_images_are_what_evaluation_sees():
    images = pictures(8)
    found = training_images(images, (20, 12), STILL, generator())
    assert torch.allclose(found, normalise(images.permute(0, 3, 1, 2).float() / 255), atol=1e-6)


def test_saturation_keeps_grey_images_grey():
    grey = torch.rand(16, 1, 8, 8, generator=generator()).expand(-1, 3, -1, -1)
    jittered = grey.clone()
    jitter(jittered, torch.ones(16, 1, 1, 1), torch.ones(16, 1, 1, 1), torch.rand(16, 1, 1, 1) * 2)
    assert torch.allclose(jittered, grey, atol=1e-6)


def test_erasing_takes_one_rectangle_of_the_asked_area_from_the_asked_share():
    config = AugmentConfig(margin=0, erase=0.5, erase_area=(0.05, 0.05))
    draws = draw(torch.Size((2000, 64, 32, 3)), (64, 32), config, generator())
    images = torch.ones(2000, 3, 64, 32)
    erase(images, draws.erased)
    erased = images == 0
    assert (erased.all(dim=1) == erased.any(dim=1)).all()
    touched = erased.flatten(1).any(dim=1)
    assert 0.45 < touched.float().mean() < 0.55
    area = erased[touched, 0].float().mean(dim=(1, 2))
    assert abs(area.mean() - 0.05) < 0.005
    for mask in erased[touched, 0][:100]:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert draws.erased.min() >= 0
    assert (draws.erased[:, 1] <= 64).all()
    assert (draws.erased[:, 3] <= 32).all()
