"""Training-time augmentation of a whole batch on the training device, every draw from one given generator.

Written here and not taken from timm or torchvision: their transforms work image by image in the workers and draw from
global generators, so that a resumed run could not repeat the draws of an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from clip_impl.preprocess import MEAN, STD
from focuscli.config import AugmentConfig

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class SharedDraws:
    """A generator for the images from `start` on of a batch of `total`: they get what they would get in the whole batch."""

    generator: torch.Generator
    start: int
    total: int


Draws = torch.Generator | SharedDraws


@dataclass(frozen=True)
class Drawn:
    """What was drawn for each image of a batch, [B] each, on the CPU.

    Attributes:
        top, left: offset of the crop in pixels. mirrored: bool.
        brightness, contrast, saturation: factors around 1.
        erased: [B, 4] top, bottom, left and right of the rectangle to erase; empty (bottom = top) where none is.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    erased: Tensor


def training_images(images: Tensor, size: tuple[int, int], config: AugmentConfig, generator: Draws) -> Tensor:
    """Random crop, flip and colour jitter, CLIP's normalisation, random erasing.

    Args:
        images: uint8 [B, H + margin, W + margin, 3].
        size: H, W of the result.
        generator: a CPU generator, the same state gives the same result; or a part of a batch's draws.

    Returns:
        float [B, 3, H, W] on the device of `images`.
    """
    draws = draw(images.shape, size, config, generator)
    # A CPU takes one image through all steps while it lies in the cache, 3 times as fast as the batch through each step; a
    # GPU wants few and large operations.
    return (apply_singly if images.device.type == "cpu" else apply)(images, size, draws)


def draw(shape: torch.Size, size: tuple[int, int], config: AugmentConfig, generator: Draws) -> Drawn:
    """Draw for uint8 images of `shape` [B, H', W', 3] that become `size`."""
    batch, height, width, _ = shape
    top = _integers(batch, height - size[0], generator)
    left = _integers(batch, width - size[1], generator)
    mirrored = _uniform(batch, generator) < config.flip
    brightness, contrast, saturation = (
        1 + strength * (2 * _uniform(batch, generator) - 1)
        for strength in (config.brightness, config.contrast, config.saturation)
    )
    return Drawn(top, left, mirrored, brightness, contrast, saturation, _rectangles(batch, size, config, generator))


def apply(images: Tensor, size: tuple[int, int], draws: Drawn) -> Tensor:
    """What was drawn, done to the whole batch step by step; arguments and result as of `training_images`."""
    device = images.device
    result = torch.empty(len(images), 3, *size, device=device)
    _cut(images, draws, out=result)
    factors = (draws.brightness, draws.contrast, draws.saturation)
    jitter(result, *(factor.to(device)[:, None, None, None] for factor in factors))
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    result.sub_(mean).div_(std)
    erase(result, draws.erased)
    return result


def apply_singly(images: Tensor, size: tuple[int, int], draws: Drawn) -> Tensor:
    """The same image by image on a CPU, in buffers that stay in its cache, with as few passes over them as there can be:
    a + b * x is one, and what brightness does is one with turning bytes into [0, 1]."""
    result, pixels, grey = torch.empty(len(images), 3, *size), torch.empty(3, *size), torch.empty(size)
    offsets = [torch.tensor(-mean / std) for mean, std in zip(MEAN, STD, strict=True)]
    numbers = (getattr(draws, field.name).tolist() for field in fields(draws))
    for image, out, top, left, mirrored, brightness, contrast, saturation, erased in zip(
        images, result, *numbers, strict=True
    ):
        window = image[top : top + size[0], left : left + size[1]]
        pixels.copy_((window.flip(1) if mirrored else window).permute(2, 0, 1)).mul_(brightness / 255)
        if brightness > 1:
            pixels.clamp_(max=1)
        mean = sum(share * value for share, value in zip(LUMA, pixels.mean(dim=(1, 2)).tolist(), strict=True))
        torch.add(torch.tensor(mean * (1 - contrast)), pixels, alpha=contrast, out=pixels).clamp_(0, 1)
        rest = [share * (1 - saturation) for share in LUMA]
        torch.mul(pixels[0], rest[0], out=grey)
        grey.add_(pixels[1], alpha=rest[1]).add_(pixels[2], alpha=rest[2])
        torch.add(grey, pixels, alpha=saturation, out=pixels).clamp_(0, 1)
        for plane, offset, std, place in zip(pixels, offsets, STD, out, strict=True):
            torch.add(offset, plane, alpha=1 / std, out=place)
        out[:, erased[0] : erased[1], erased[2] : erased[3]] = 0.0
    return result


def _cut(images: Tensor, draws: Drawn, *, out: Tensor) -> None:
    """Windows of uint8 [B, H', W', 3], mirrored or not, into `out`, float [B, 3, H, W] in [0, 1]."""
    height, width = out.shape[-2:]
    rows = draws.top[:, None] + torch.arange(height)  # [B, H]
    columns = draws.left[:, None] + torch.arange(width)  # [B, W]
    columns = torch.where(draws.mirrored[:, None], columns.flip(1), columns)
    device = images.device
    index = torch.arange(len(images), device=device)[:, None, None]
    picked = images[index, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]  # [B, H, W, 3]
    out.copy_(picked.permute(0, 3, 1, 2)).div_(255)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> None:
    """Scale brightness, distance from the mean grey, and distance from each pixel's grey of [B, 3, H, W] in [0, 1], in
    place, by factors [B, 1, 1, 1]."""
    images.mul_(brightness).clamp_(0, 1)
    mean = images.mean(dim=(2, 3), keepdim=True)  # [B, 3, 1, 1]
    mean = (mean * mean.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    images.mul_(contrast).add_(mean * (1 - contrast)).clamp_(0, 1)
    grey = images[:, :1] * LUMA[0]
    grey.add_(images[:, 1:2], alpha=LUMA[1]).add_(images[:, 2:], alpha=LUMA[2])
    images.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, 1)


def erase(images: Tensor, rectangles: Tensor) -> None:
    """Set one rectangle [B, 4] (top, bottom, left, right) of each of [B, 3, H, W] to 0, in place: the mean colour, after
    normalisation."""
    height, width = images.shape[-2:]
    rectangles = rectangles.to(images.device)
    top, bottom, left, right = (rectangles[:, side, None] for side in range(4))
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
    images.masked_fill_(inside[:, None], 0.0)


def _rectangles(batch: int, size: tuple[int, int], config: AugmentConfig, generator: Draws) -> Tensor:
    """[B, 4]; a share `erase` of them is not empty."""
    height, width = size
    chosen = _uniform(batch, generator) < config.erase
    low, high = config.erase_area
    area = (low + (high - low) * _uniform(batch, generator)) * height * width
    log_low, log_high = (torch.tensor(ratio).log() for ratio in config.erase_ratio)
    ratio = (log_low + (log_high - log_low) * _uniform(batch, generator)).exp()
    tall = (area * ratio).sqrt().round().clamp(1, height)
    wide = (area / ratio).sqrt().round().clamp(1, width)
    top = (_uniform(batch, generator) * (height - tall + 1)).floor()
    left = (_uniform(batch, generator) * (width - wide + 1)).floor()
    return torch.stack([top, top + tall * chosen, left, left + wide], dim=1).long()


def _integers(count: int, most: int, generator: Draws) -> Tensor:
    """Whole numbers from 0 to `most`, both included."""
    return (_uniform(count, generator) * (most + 1)).floor().long().clamp(max=most)


def _uniform(count: int, generator: Draws) -> Tensor:
    """A number in [0, 1) for each of `count` images; every draw here is one of these."""
    if isinstance(generator, SharedDraws):
        whole = torch.rand(generator.total, generator=generator.generator)
        return whole[generator.start : generator.start + count]
    return torch.rand(count, generator=generator)
