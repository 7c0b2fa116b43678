"""Drawn crops with the sizes of PA-100K's, as JPEG files: what data pipelines are timed on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from focuscli.data.synthetic import STYLES, draw, sample_person

# 600 crops of PA-100K: 88 x 231 pixels and 4.6 kB on average, median height 208, median of height / width 2.66.
MEDIAN_HEIGHT, SPREAD_OF_HEIGHT = 208, 0.457  # exp(0.457 ** 2 / 2) * 208 = 231
MEDIAN_ASPECT, SPREAD_OF_ASPECT = 2.66, 0.15
QUALITY = 80


def draw_crops(count: int, seed: int = 0) -> list[bytes]:
    """So many different crops as JPEG."""
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        height = int(np.clip(rng.lognormal(np.log(MEDIAN_HEIGHT), SPREAD_OF_HEIGHT), 64, 640))
        width = max(24, round(height / rng.lognormal(np.log(MEDIAN_ASPECT), SPREAD_OF_ASPECT)))
        drawn = draw(sample_person(rng), STYLES["street"], size=(height, width), rng=rng).image
        encoded = io.BytesIO()
        drawn.resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=QUALITY)
        crops.append(encoded.getvalue())
    return crops


def write_crops(folder: Path, count: int, crops: Sequence[bytes]) -> list[Path]:
    """`count` files of the crops in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(crops[number % len(crops)])
    return paths
