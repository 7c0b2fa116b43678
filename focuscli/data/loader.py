"""Crops as uint8 tensors: decoded and resized in threads (Pillow releases the interpreter lock), normalised later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clip_impl.preprocess import MEAN, STD
from focuscli.data.images import chunks, load_image, read_ahead, squash

Progress = Callable[[int, int], None]
CropSource = Callable[[Iterable[Sequence[int]]], Iterator[Tensor]]
"""Lists of positions -> uint8 [B, H, W, 3] each."""
Resize = Literal["pillow", "torch"]
"""Who resizes: Pillow, as CLIP was trained; or torch, faster, which differs by a grey level at a few pixels in a hundred."""


def resize_crop(image: Image.Image, size: tuple[int, int], resize: Resize = "pillow") -> Tensor:
    """A PIL image as uint8 [H, W, 3], squashed to `size` = (H, W) with a bicubic filter (no cropping)."""
    if resize == "pillow":
        return torch.from_numpy(squash(image, size))
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
    return F.interpolate(pixels, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)


def read_batches(
    paths: Sequence[Path],
    size: tuple[int, int],
    batches: Iterable[Sequence[int]],
    *,
    workers: int,
    resize: Resize = "pillow",
) -> Iterator[Tensor]:
    """Yield uint8 [B, H, W, 3] for each list of positions in `paths`, a few batches ahead of the consumer."""
    for crops in read_ahead(lambda row: resize_crop(load_image(paths[row]), size, resize), batches, workers=workers):
        yield stack_crops(crops)


def stack_crops(crops: Sequence[Tensor]) -> Tensor:
    """[H, W, 3] each -> [B, H, W, 3]. Planes stay planes in memory where torch's resize left them so: the model wants planes
    in the end, and interleaving them costs as much as resizing."""
    if crops[0].stride(-1) == 1:
        return torch.stack([*crops])
    return torch.stack([crop.permute(2, 0, 1) for crop in crops]).permute(0, 2, 3, 1)


def crop_source(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    workers: int,
    in_memory: bool,
    progress: Progress | None,
    resize: Resize = "pillow",
) -> CropSource:
    """A function like `read_batches` for the crops of a training set at one size, which reads them all first if they fit
    into memory."""
    read = partial(read_batches, paths, size, workers=workers, resize=resize)
    if not in_memory:
        return read
    cache = torch.empty(len(paths), *size, 3, dtype=torch.uint8)
    parts = chunks(len(paths), 64)
    for part, crops in zip(parts, read(parts), strict=True):
        cache[part.start : part.stop] = crops
        if progress is not None:
            progress(part.stop, len(paths))
    return lambda batches: (cache[torch.as_tensor(batch)] for batch in batches)


def normalise(crops: Tensor, device: torch.device) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] on the device, normalised as CLIP's inputs are."""
    images = crops.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div(255)
    return (images - images.new_tensor(MEAN)[:, None, None]) / images.new_tensor(STD)[:, None, None]
