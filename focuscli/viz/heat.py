"""Attention maps as colours over images."""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image


def turbo(values: np.ndarray) -> np.ndarray:
    """Colours of matplotlib's colour map "turbo", uint8 [..., 3], of values in 0..1 [...]; outside values are clipped."""
    colours: np.ndarray = matplotlib.colormaps["turbo"](np.clip(values, 0.0, 1.0), bytes=True)
    return colours[..., :3]


def unit_range(heat: np.ndarray) -> np.ndarray:
    """A map scaled linearly so that its smallest value is 0 and its largest 1; all 0 if it is flat."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def upsample(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] in 0..1, bicubically upsampled to `size` (width, height) and clipped to 0..1; NaN counts as 0."""
    finite = np.nan_to_num(np.asarray(heat, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(np.asarray(Image.fromarray(finite).resize(size, Image.Resampling.BICUBIC)), 0, 1)


def overlay(image: Image.Image, heat: np.ndarray, alpha: float = 0.5) -> Image.Image:
    """The image with the heat's colours over it: alpha 0 is the image alone, 1 the colours alone."""
    colours = Image.fromarray(turbo(upsample(heat, image.size)))
    return Image.blend(image.convert("RGB"), colours, alpha)
