"""Drawing outlines in figure units onto an oversampled picture, while noting the box of each body region."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from focuscli.data.synthetic.palette import Colour, scaled
from focuscli.data.synthetic.shapes import Points

SUPERSAMPLING = 2
Box = tuple[float, float, float, float]
_NOWHERE: Box = (math.inf, math.inf, -math.inf, -math.inf)


@dataclass(frozen=True)
class Camera:
    """How figure units become pixels of the final image.

    Attributes:
        size: (height, width) of the final image.
        centre: x of the figure's middle, in pixels. ground: y of the soles, in pixels.
        scale: pixels per figure unit.
        elevation: 0 = at eye level, 1 = looking down steeply: legs shorter and narrower than head and shoulders.
        light: where it comes from, -1 = left, 1 = right.
    """

    size: tuple[int, int]
    centre: float
    ground: float
    scale: float
    elevation: float = 0.0
    light: float = -0.5

    @property
    def tilt(self) -> float:
        """How far a point moves down the picture per unit that it is nearer to the camera."""
        return 0.06 + 0.22 * self.elevation

    def project(self, points: Points) -> Points:
        """Figure units -> pixels; [n, 2]."""
        x, y = points[:, 0], points[:, 1]
        k = self.elevation
        width = 1 + k * (0.6 * y - 0.4)
        height = y * (1 - 0.42 * k + 0.34 * k * y)
        return np.stack([self.centre + self.scale * x * width, self.ground - self.scale * height], axis=1)


class Canvas:
    """A picture being drawn. `backdrop` is the final size; it is enlarged here."""

    def __init__(self, camera: Camera, backdrop: Image.Image) -> None:
        height, width = camera.size
        self.camera = camera
        self.image = backdrop.resize((width * SUPERSAMPLING, height * SUPERSAMPLING), Image.Resampling.BILINEAR)
        self._pen = ImageDraw.Draw(self.image, "RGBA")
        self._extent: dict[str, Box] = {}
        self._line = max(1, round(camera.scale * SUPERSAMPLING * 0.0042))

    def fill(
        self,
        outline: Points,
        paint: Colour | Image.Image,
        region: str | None = None,
        *,
        shade: float = 1.0,
        edge: float = 0.5,
        opacity: int = 255,
    ) -> None:
        """Fill an outline with a colour or a texture of the canvas's size, shaded like a round body.

        Args:
            region: whose box grows by this outline; None = only the whole figure's.
            shade: strength of the shading across the width. edge: darkness of the contour, 0 = none.
            opacity: below 255 what lies under it shines through (plain colours only; then unshaded).
        """
        pixels, box = self._mark(outline, region)
        flat = pixels.ravel().tolist()
        if opacity < 255 and not isinstance(paint, Image.Image):
            self._pen.polygon(flat, fill=(*paint, opacity))
            return
        first, last = math.floor(box[0]), math.ceil(box[2]) + 1
        left, top = max(first, 0), max(math.floor(box[1]), 0)
        right, bottom = min(last, self.image.width), min(math.ceil(box[3]) + 1, self.image.height)
        if left >= right or top >= bottom:
            return
        size = (right - left, bottom - top)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon((pixels - (left, top)).ravel().tolist(), fill=255)
        falloff = self._falloff(first, last, left, right, shade)
        if isinstance(paint, Image.Image):
            row = np.repeat((falloff * (255 / 1.08)).clip(0, 255).astype(np.uint8)[None, :, None], 3, axis=2)
            tile = ImageChops.multiply(
                paint.crop((left, top, right, bottom)).convert("RGB"), Image.fromarray(row).resize(size, 0)
            )
            contour: Colour = (30, 30, 36)
        else:
            row = (falloff[None, :, None] * np.array(paint)).clip(0, 255).astype(np.uint8)
            tile = Image.fromarray(row).resize(size, 0)
            contour = scaled(paint, 0.45)
        self.image.paste(tile, (left, top), mask)
        if edge:
            self._pen.line([*flat, *flat[:2]], fill=(*contour, int(255 * edge)), width=self._line)

    def line(
        self, points: Points, colour: Colour, width: float, region: str | None = None, *, opacity: int = 255
    ) -> None:
        """Draw a polyline; `width` in figure units, at least one pixel of the oversampled picture."""
        pixels, _ = self._mark(points, region)
        stroke = max(1, round(width * self.camera.scale * SUPERSAMPLING))
        self._pen.line(pixels.ravel().tolist(), (*colour, opacity), stroke, joint="curve")

    def mark(self, region: str, outline: Points) -> None:
        """Let a region's box grow by an outline without drawing it."""
        self._mark(outline, region)

    def finish(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.reduce(SUPERSAMPLING)

    def boxes(self) -> dict[str, Box]:
        """(left, top, right, bottom) per region in pixels of the final image, clipped to it; "whole" is all of them."""
        height, width = self.camera.size
        found: dict[str, Box] = {}
        for region, (left, top, right, bottom) in self._extent.items():
            box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
            if box[0] < box[2] and box[1] < box[3]:
                found[region] = (round(box[0], 2), round(box[1], 2), round(box[2], 2), round(box[3], 2))
        return found

    def _mark(self, outline: Points, region: str | None) -> tuple[Points, Box]:
        """Note the extent of an outline; returns it and its box in pixels of the canvas."""
        pixels = self.camera.project(outline)
        left, top = pixels.min(axis=0).tolist()
        right, bottom = pixels.max(axis=0).tolist()
        for name in ("whole",) if region is None else ("whole", region):
            old = self._extent.get(name, _NOWHERE)
            self._extent[name] = (min(old[0], left), min(old[1], top), max(old[2], right), max(old[3], bottom))
        k = SUPERSAMPLING
        return pixels * k, (left * k, top * k, right * k, bottom * k)

    def _falloff(self, low: int, high: int, left: int, right: int, shade: float) -> NDArray[np.float64]:
        """Brightness per column of [left, right) of a body that reaches from `low` to `high`."""
        across = (np.arange(left, right) - low + 0.5) / max(high - low, 1)
        peak = 0.5 + 0.22 * self.camera.light
        return 1.08 - shade * 0.62 * (across - peak) ** 2 - 0.08 * (1 - shade)
