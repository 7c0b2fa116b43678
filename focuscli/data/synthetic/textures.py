"""Cloth patterns as palette pictures of the canvas's size, to be painted through outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from focuscli.data.synthetic.canvas import SUPERSAMPLING, Camera
from focuscli.data.synthetic.palette import Colour, scaled


class Cloth:
    """Patterns for one camera; `unit` turns figure units into pixels of the canvas."""

    def __init__(self, camera: Camera, tall: float) -> None:
        height, width = camera.size
        self._size = (height * SUPERSAMPLING, width * SUPERSAMPLING)
        self._unit = camera.scale * SUPERSAMPLING * (0.55 + 0.45 * tall)
        self._rows = np.arange(self._size[0])
        self._columns = np.arange(self._size[1])

    def stripes(self, base: Colour, accent: Colour, *, period: float = 0.056) -> Image.Image:
        """Horizontal stripes of equal width."""
        second = (self._rows % (period * self._unit)) < 0.5 * period * self._unit
        return self._two(np.broadcast_to(second[:, None], self._size), base, accent)

    def plaid(self, base: Colour, accent: Colour) -> Image.Image:
        """Broad crossing bands, darker where they meet, with a thin line of the accent between them."""
        period = 0.078 * self._unit
        down, across = (self._rows % period) / period, (self._columns % period) / period
        dark = scaled(base, 0.45) if sum(base) > 210 else (120, 40, 44)
        # Every pixel is one of four: no band, one band, two bands, the thin line; looked up instead of mixed.
        kind = (down < 0.42).astype(np.uint8)[:, None] + (across < 0.42).astype(np.uint8)[None, :]
        kind[abs(down - 0.71) < 0.07] = 3
        kind[:, abs(across - 0.71) < 0.07] = 3
        half = tuple((first + second) // 2 for first, second in zip(base, dark, strict=True))
        line = tuple((first * 3 + second * 17) // 20 for first, second in zip(base, accent, strict=True))
        return self._paint(kind, base, half, dark, line)

    def halves(self, base: Colour, accent: Colour, border: float, *, vertical: bool) -> Image.Image:
        """Two colours that meet at a border in pixels of the canvas: accent above it, or accent left of it."""
        if vertical:
            return self._two(np.broadcast_to((self._columns < border)[None, :], self._size), base, accent)
        return self._two(np.broadcast_to((self._rows < border)[:, None], self._size), base, accent)

    def dots(self, base: Colour, accent: Colour) -> Image.Image:
        """Large dots, every second row shifted by half."""
        period = 0.05 * self._unit
        row = np.floor(self._rows / period)
        y = (self._rows / period) % 1 - 0.5
        x = (self._columns[None, :] / period + 0.5 * (row % 2)[:, None]) % 1 - 0.5
        return self._two(x * x + (y * y)[:, None] < 0.105, base, accent)

    def blotches(self, base: Colour, accent: Colour, seed: int) -> Image.Image:
        """Irregular patches, like camouflage or large flowers."""
        cells = max(3, round(self._size[0] / (0.042 * self._unit))), max(3, round(self._size[1] / (0.042 * self._unit)))
        noise = np.random.default_rng(seed).integers(0, 256, cells, dtype=np.uint8)
        grown = np.asarray(Image.fromarray(noise).resize((self._size[1], self._size[0]), Image.Resampling.BICUBIC))
        return self._two(grown > 142, base, accent)

    def _two(self, second: NDArray[np.bool_], base: Colour, accent: Colour) -> Image.Image:
        return self._paint(second.astype(np.uint8), base, accent)

    @staticmethod
    def _paint(kind: NDArray[np.uint8], *colours: tuple[int, ...]) -> Image.Image:
        picture = Image.fromarray(kind)
        picture.putpalette([value for colour in colours for value in colour])
        return picture
