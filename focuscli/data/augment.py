"""Training-time augmentation of a whole batch on the training device, every draw from one given generator.

Written here and not taken from timm or torchvision: their transforms work image by image in the workers and draw from
global generators, so that a resumed run could not repeat the draws of an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from focuscli.config import AugmentConfig


@dataclass(frozen=True)
class SharedDraws:
    """A generator for the images from `start` on of a batch of `total`: they get what they would get in the whole batch."""

    generator: torch.Generator
    start: int
    total: int


Draws = torch.Generator | SharedDraws


def augment(images: Tensor, size: tuple[int, int], config: AugmentConfig, generator: Draws) -> Tensor:
    """Random crop, flip and colour jitter.

    Args:
        images: uint8 [B, H + margin, W + margin, 3].
        size: H, W of the result.
        generator: a CPU generator, the same state gives the same result; or a part of a batch's draws.

    Returns:
        float [B, 3, H, W] in [0, 1].
    """
    cropped = random_crop_flip(images, size, config.flip, generator)
    return colour_jitter(cropped, config, generator)


def random_crop_flip(images: Tensor, size: tuple[int, int], flip: float, generator: Draws) -> Tensor:
    """uint8 [B, H', W', 3] -> float [B, 3, H, W] in [0, 1], one offset and one mirroring per image."""
    batch, height, width, _ = images.shape
    top = _integers(batch, height - size[0], generator)
    left = _integers(batch, width - size[1], generator)
    mirrored = _uniform(batch, generator) < flip
    rows = top[:, None] + torch.arange(size[0])  # [B, H]
    columns = left[:, None] + torch.arange(size[1])  # [B, W]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    device = images.device
    index = torch.arange(batch, device=device)[:, None, None]
    picked = images[index, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]  # [B, H, W, 3]
    return picked.permute(0, 3, 1, 2).float().div(255)


def colour_jitter(images: Tensor, config: AugmentConfig, generator: Draws) -> Tensor:
    """Brightness, contrast and saturation of [B, 3, H, W] in [0, 1], each scaled by 1 +- its strength per image."""

    def factor(strength: float) -> Tensor:
        draw = 1 + strength * (2 * _uniform(len(images), generator) - 1)
        return draw.to(images)[:, None, None, None]

    luma = images.new_tensor((0.299, 0.587, 0.114))[:, None, None]
    images = (images * factor(config.brightness)).clamp(0, 1)
    mean = (images * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = torch.lerp(mean, images, factor(config.contrast)).clamp(0, 1)
    grey = (images * luma).sum(dim=1, keepdim=True)
    return torch.lerp(grey.expand_as(images), images, factor(config.saturation)).clamp(0, 1)


def random_erase(images: Tensor, config: AugmentConfig, generator: Draws) -> Tensor:
    """Set one rectangle to 0 (the mean colour, after normalisation) in a share `erase` of the images [B, 3, H, W]."""
    batch, _, height, width = images.shape
    chosen = _uniform(batch, generator) < config.erase
    low, high = config.erase_area
    area = (low + (high - low) * _uniform(batch, generator)) * height * width
    log_low, log_high = (torch.tensor(ratio).log() for ratio in config.erase_ratio)
    ratio = (log_low + (log_high - log_low) * _uniform(batch, generator)).exp()
    tall = (area * ratio).sqrt().round().clamp(1, height)
    wide = (area / ratio).sqrt().round().clamp(1, width)
    top = (_uniform(batch, generator) * (height - tall + 1)).floor()
    left = (_uniform(batch, generator) * (width - wide + 1)).floor()
    y, x = torch.arange(height), torch.arange(width)
    inside_y = (y >= top[:, None]) & (y < (top + tall)[:, None])
    inside_x = (x >= left[:, None]) & (x < (left + wide)[:, None])
    erased = chosen[:, None, None] & inside_y[:, :, None] & inside_x[:, None, :]
    return images.masked_fill(erased.to(images.device)[:, None], 0.0)


def _integers(count: int, most: int, generator: Draws) -> Tensor:
    """Whole numbers from 0 to `most`, both included."""
    return (_uniform(count, generator) * (most + 1)).floor().long().clamp(max=most)


def _uniform(count: int, generator: Draws) -> Tensor:
    """A number in [0, 1) for each of `count` images; every draw here is one of these."""
    if isinstance(generator, SharedDraws):
        whole = torch.rand(generator.total, generator=generator.generator)
        return whole[generator.start : generator.start + count]
    return torch.rand(count, generator=generator)
