"""From image files to pixels of one size, in numpy: what every backend shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from focuscli.data.images import load_image

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]


def read_pixels(path: Path, size: tuple[int, int]) -> Pixels:
    """One image file as uint8 [H, W, 3], see `squash`.

    Raises:
        InputError: not there or not readable as an image.
    """
    return squash(load_image(path), size)


def squash(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """A PIL image as uint8 [H, W, 3], squashed to `size` = (H, W) with Pillow's bicubic filter (no cropping)."""
    from PIL import Image

    resized = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.array(resized)


def evenly(count: int, batch_size: int) -> list[range]:
    """Positions 0 to count - 1 in consecutive ranges of at most `batch_size`."""
    return [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
