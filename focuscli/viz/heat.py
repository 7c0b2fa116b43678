"""Heat maps to colours, and over images. Pillow and numpy only."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Turbo (A. Mikhailov, "Turbo, An Improved Rainbow Colormap", 2019) at 17 even steps; between them it is drawn linearly.
TURBO_STEPS = (
    "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c "
    "cbed34 ecd13a fdae35 fb8122 ec530f d23105 ac1701 7a0403"
)


def turbo(values: np.ndarray) -> np.ndarray:
    """Turbo colours, uint8 [..., 3], of values in 0..1 [...]; outside values are clipped."""
    steps = np.array([list(bytes.fromhex(step)) for step in TURBO_STEPS.split()], dtype=np.float32)
    position = np.linspace(0, 1, len(steps))
    table = np.stack([np.interp(np.linspace(0, 1, 256), position, channel) for channel in steps.T], axis=-1)
    return table.round().astype(np.uint8)[(np.clip(values, 0, 1) * 255).round().astype(np.intp)]


def upsample(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] in 0..1, bicubically upsampled to `size` (width, height) and clipped to 0..1; NaN counts as 0."""
    finite = np.nan_to_num(np.asarray(heat, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    if finite.ndim != 2 or not finite.size:
        raise ValueError(f"a heat map is [h, w] and not empty; got shape {finite.shape}")
    return np.clip(np.asarray(Image.fromarray(finite).resize(size, Image.Resampling.BICUBIC)), 0, 1)


def overlay(image: Image.Image, heat: np.ndarray, alpha: float = 0.5) -> Image.Image:
    """The image with the heat's colours over it: alpha 0 is the image alone, 1 the colours alone."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is between 0 and 1; got {alpha}")
    colours = Image.fromarray(turbo(upsample(heat, image.size)))
    return Image.blend(image.convert("RGB"), colours, alpha)
