"""Augmentation of batches: what is drawn, what is kept, and that the generator alone decides."""

from __future__ import annotations

import torch

from focuscli.config import AugmentConfig
from focuscli.data.augment import augment, colour_jitter, random_crop_flip, random_erase


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=64, height=20, width=12):
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator(9))


def test_the_same_generator_state_gives_the_same_batch():
    config = AugmentConfig()
    first, second = (augment(pictures(), (16, 8), config, generator(1)) for _ in range(2))
    other = augment(pictures(), (16, 8), config, generator(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == (64, 3, 16, 8)
    assert first.min() >= 0
    assert first.max() <= 1


def test_every_crop_is_a_window_of_its_image_and_all_offsets_occur():
    images = pictures(400)
    crops = random_crop_flip(images, (16, 8), 0.5, generator())
    seen = set()
    for image, crop in zip(images, crops, strict=True):
        found = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.allclose(
                crop,
                (lambda window, m: window.flip(2) if m else window)(
                    image[top : top + 16, left : left + 8].permute(2, 0, 1).float() / 255, mirrored
                ),
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 50


def test_without_margin_and_flip_nothing_moves():
    images = pictures(8)
    crops = random_crop_flip(images, (20, 12), 0.0, generator())
    assert torch.equal(crops, images.permute(0, 3, 1, 2).float() / 255)


def test_jitter_of_strength_zero_is_the_identity():
    images = torch.rand(4, 3, 8, 8, generator=generator())
    none = AugmentConfig(brightness=0, contrast=0, saturation=0)
    assert torch.allclose(colour_jitter(images, none, generator()), images, atol=1e-6)


def test_saturation_keeps_grey_images_grey():
    grey = torch.rand(16, 1, 8, 8, generator=generator()).expand(-1, 3, -1, -1)
    jittered = colour_jitter(grey, AugmentConfig(brightness=0, contrast=0, saturation=0.8), generator())
    assert torch.allclose(jittered, grey, atol=1e-6)


def test_erasing_takes_one_rectangle_of_the_asked_area_from_the_asked_share():
    images = torch.ones(2000, 3, 64, 32)
    erased = random_erase(images, AugmentConfig(erase=0.5, erase_area=(0.05, 0.05)), generator()) == 0
    assert (erased.all(dim=1) == erased.any(dim=1)).all()
    touched = erased.flatten(1).any(dim=1)
    assert 0.45 < touched.float().mean() < 0.55
    area = erased[touched, 0].float().mean(dim=(1, 2))
    assert abs(area.mean() - 0.05) < 0.005
    for mask in erased[touched, 0][:100]:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_erasing_off_changes_nothing():
    images = torch.rand(8, 3, 16, 8)
    assert torch.equal(random_erase(images, AugmentConfig(erase=0), generator()), images)
