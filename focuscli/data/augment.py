"""Training-time augmentation of a whole batch on the training device, with all random numbers from one given generator.

Written here and not taken from timm or torchvision: their transforms work image by image in the workers and use global
generators, so that a resumed run could not repeat what an uninterrupted one does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from clip_impl.preprocess import MEAN, STD
from focuscli.config import AugmentConfig

LUMA = (0.299, 0.587, 0.114)


class AugmentParams(NamedTuple):
    """The random choices for each image of a batch, [B] each, on the CPU.

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


def augment(
    images: Tensor,
    size: tuple[int, int],
    config: AugmentConfig,
    generator: torch.Generator,
    *,
    start: int = 0,
    total: int | None = None,
) -> Tensor:
    """Random crop, flip and colour jitter, CLIP's normalisation, random erasing.

    Args:
        images: uint8 [B, H + margin, W + margin, 3].
        size: H, W of the result.
        generator: a CPU generator; the same state gives the same result.
        start, total: where several processes share a batch, the position of these images in it and its size (default:
            B). Each image becomes what it would become in the whole batch.

    Returns:
        float [B, 3, H, W] on the device of `images`.
    """
    count, height, width, _ = images.shape
    every = draw_params(total or count, (height, width), size, config, generator)
    params = AugmentParams(*(values[start : start + count] for values in every))
    # A CPU takes one image through all steps while it lies in the cache, 3 times as fast as the batch through each step; a
    # GPU wants few and large operations.
    return (apply_singly if images.device.type == "cpu" else apply)(images, size, params)


def draw_params(
    count: int, source: tuple[int, int], size: tuple[int, int], config: AugmentConfig, generator: torch.Generator
) -> AugmentParams:
    """Random choices for `count` images of `source` = (H', W') pixels that are cropped to `size` = (H, W)."""

    def uniform() -> Tensor:
        return torch.rand(count, generator=generator)

    def offset(room: int) -> Tensor:
        return (uniform() * (room + 1)).floor().long().clamp(max=room)

    def factor(strength: float) -> Tensor:
        return 1 + strength * (2 * uniform() - 1)

    # The order of these lines is part of what a seed means: runs on record were trained with it.
    top, left = offset(source[0] - size[0]), offset(source[1] - size[1])
    mirrored = uniform() < config.flip
    brightness, contrast, saturation = factor(config.brightness), factor(config.contrast), factor(config.saturation)
    chosen = uniform() < config.erase
    low, high = config.erase_area
    area = (low + (high - low) * uniform()) * size[0] * size[1]
    log_low, log_high = (torch.tensor(ratio).log() for ratio in config.erase_ratio)
    ratio = (log_low + (log_high - log_low) * uniform()).exp()
    tall = (area * ratio).sqrt().round().clamp(1, size[0])
    wide = (area / ratio).sqrt().round().clamp(1, size[1])
    erase_top = (uniform() * (size[0] - tall + 1)).floor()
    erase_left = (uniform() * (size[1] - wide + 1)).floor()
    erased = torch.stack([erase_top, erase_top + tall * chosen, erase_left, erase_left + wide], dim=1).long()
    return AugmentParams(top, left, mirrored, brightness, contrast, saturation, erased)


def apply(images: Tensor, size: tuple[int, int], params: AugmentParams) -> Tensor:
    """Apply the choices to the whole batch step by step; arguments and result as of `augment`."""
    device = images.device
    top, left, mirrored, *factors, erased = (values.to(device) for values in params)
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors)
    y, x = torch.arange(size[0], device=device), torch.arange(size[1], device=device)
    columns = torch.where(mirrored[:, None], (left[:, None] + x).flip(1), left[:, None] + x)  # [B, W]
    index = torch.arange(len(images), device=device)[:, None, None]
    picked = images[index, (top[:, None] + y)[:, :, None], columns[:, None, :]]  # [B, H, W, 3]
    result = torch.empty(len(images), 3, *size, device=device)
    result.copy_(picked.permute(0, 3, 1, 2)).div_(255)

    result.mul_(brightness).clamp_(0, 1)
    luma, mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (LUMA, MEAN, STD))
    mean_grey = (result.mean(dim=(2, 3), keepdim=True) * luma).sum(dim=1, keepdim=True)  # [B, 1, 1, 1]
    result.mul_(contrast).add_(mean_grey * (1 - contrast)).clamp_(0, 1)
    grey = result[:, :1] * LUMA[0]
    grey.add_(result[:, 1:2], alpha=LUMA[1]).add_(result[:, 2:], alpha=LUMA[2])
    result.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, 1)
    result.sub_(mean).div_(std)

    y0, y1, x0, x1 = (erased[:, side, None] for side in range(4))
    inside = ((y >= y0) & (y < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None, :]
    return result.masked_fill_(inside[:, None], 0.0)  # the mean colour, after normalisation


def apply_singly(images: Tensor, size: tuple[int, int], params: AugmentParams) -> Tensor:
    """The same image by image on a CPU, in buffers that stay in its cache, with as few passes over them as possible:
    a + b * x is one, and scaling the brightness is one with turning bytes into [0, 1]."""
    result, pixels, grey = torch.empty(len(images), 3, *size), torch.empty(3, *size), torch.empty(size)
    offsets = [torch.tensor(-mean / std) for mean, std in zip(MEAN, STD, strict=True)]
    for image, out, *numbers in zip(images, result, *(values.tolist() for values in params), strict=True):
        top, left, mirrored, brightness, contrast, saturation, erased = numbers
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
