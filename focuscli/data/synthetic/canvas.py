"""Outlines in figure units, and a canvas that draws them and records the box of each body region.

A figure unit is the height of a tall adult; y runs upwards from the soles. Outlines are float arrays [n, 2] of (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from focuscli.data.synthetic.people import Colour

SUPERSAMPLING = 2
Points = NDArray[np.float64]
Point = tuple[float, float]
Places = Sequence[Point | Points] | Points
Box = tuple[float, float, float, float]
Paint = Colour | NDArray[np.uint8]


def smooth(points: Places, *, closed: bool = True) -> Points:
    """A Catmull-Rom curve through `points`; [5 n, 2] where closed, else [5 (n - 1) + 1, 2]."""
    given = np.asarray(points, np.float64)
    around = given.take(range(-1, len(given) + 2), axis=0, mode="wrap" if closed else "clip")
    if not closed:
        around = around[:-1]
    p0, p1, p2, p3 = (around[start : len(around) - 3 + start, None] for start in range(4))
    t = (np.arange(5) / 5)[:, None]
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return np.concatenate([curve.reshape(-1, given.shape[1]), given[:0] if closed else given[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float, *, power: float = 2.0) -> Points:
    """An ellipse around (x, y); a higher `power` makes it a box with round corners (a superellipse)."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(circle) * abs(circle) ** (2 / power) * (rx, ry) + (x, y)


def tube(centre: Places, radii: Sequence[float], *, flat_end: bool = False) -> Points:
    """The outline of a limb: a curve with a radius at each point; its ends are round, the last one flat where asked."""
    line = smooth(centre, closed=False)
    radius = smooth(np.asarray(radii)[:, None], closed=False)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * radius
    angle = np.linspace(0.3, np.pi - 0.3, 5)[:, None]
    start = line[0] - np.sin(angle) * along[0] * radius[0] - np.cos(angle) * normal[0]
    end = line[-1] + np.sin(angle) * along[-1] * radius[-1] + np.cos(angle) * normal[-1]
    return np.concatenate([start, line + normal, line[-1:] if flat_end else end, (line - normal)[::-1]])


def band(outline: Points, low: float, high: float) -> Points:
    """The part of an outline between two heights: points outside are moved to the nearer of them."""
    return np.column_stack([outline[:, 0], outline[:, 1].clip(low, high)])


def shaded(colour: Colour, factor: float) -> Colour:
    """A darker shade (factor below 1), or a lighter one where the colour is too dark for that to be seen."""
    if max(colour) <= 70:
        factor = 1 + 2 * (1 - factor)
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


class Canvas:
    """A picture being drawn on a background.

    A paint is a colour, or a texture: an array [height, width, 3] of the canvas's size, see `coordinates`.

    Args:
        background: of the final size. light: where it comes from, -1 = left, 1 = right.
        centre: x of the figure's middle, in pixels. ground: y of the soles, in pixels. scale: pixels per figure unit.
    """

    def __init__(self, background: Image.Image, *, centre: float, ground: float, scale: float, light: float) -> None:
        size = (background.width * SUPERSAMPLING, background.height * SUPERSAMPLING)
        self._image = background.resize(size, Image.Resampling.NEAREST)
        self._pen = ImageDraw.Draw(self._image, "RGBA")
        self._origin = np.array([centre, ground]) * SUPERSAMPLING
        self._scale, self._light = scale * SUPERSAMPLING, light
        self._corners: dict[str, list[Points]] = {}

    def coordinates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x [1, width] and y [height, 1] of the canvas's pixels in figure units, for textures."""
        x = (np.arange(self._image.width) - self._origin[0]) / self._scale
        y = (self._origin[1] - np.arange(self._image.height)) / self._scale
        return x[None, :], y[:, None]

    def fill(self, outline: Points, paint: Paint, region: str | None = None, *, edge: float = 0.5) -> None:
        """Fill an outline, shaded across its width like a round body.

        Args:
            region: whose box grows by this outline; None: only the box of the whole figure.
            edge: darkness of the contour, 0 = none.
        """
        pixels = self.project(outline, region)
        first, last = np.floor(pixels.min(axis=0)).astype(int), np.ceil(pixels.max(axis=0)).astype(int) + 1
        (left, top), (right, bottom) = np.maximum(first, 0).tolist(), np.minimum(last, self._image.size).tolist()
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon((pixels - (left, top)).ravel().tolist(), fill=255)
        across = (np.arange(left, right) - first[0] + 0.5) / (last[0] - first[0])
        light = 1.08 - 0.62 * (across - 0.5 - 0.22 * self._light) ** 2
        colours = paint[top:bottom, left:right] if isinstance(paint, np.ndarray) else np.array(paint)
        tile = np.empty((bottom - top, right - left, 3), np.uint8)
        tile[:] = (light[None, :, None] * colours).clip(0, 255)
        self._image.paste(Image.fromarray(tile), (left, top), mask)
        if edge:
            contour = (30, 30, 36) if isinstance(paint, np.ndarray) else shaded(paint, 0.45)
            line = [*pixels.ravel().tolist(), *pixels[0].tolist()]
            self._pen.line(line, fill=(*contour, int(255 * edge)), width=max(1, round(0.0042 * self._scale)))

    def line(self, points: Places, colour: Colour, width: float, region: str | None = None) -> None:
        """Draw a polyline; `width` in figure units, at least one pixel of the oversampled picture."""
        pixels = self.project(np.asarray(points), region)
        self._pen.line(pixels.ravel().tolist(), colour, max(1, round(width * self._scale)), joint="curve")

    def finish(self) -> tuple[Image.Image, dict[str, Box]]:
        """The picture at its final size, and (left, top, right, bottom) per region in its pixels, clipped to it; "whole" is
        all of them."""
        boxes: dict[str, Box] = {}
        for region, corners in self._corners.items():
            points = np.concatenate(corners).clip(0, self._image.size) / SUPERSAMPLING
            boxes[region] = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        return self._image.reduce(SUPERSAMPLING), boxes

    def project(self, outline: Points, region: str | None) -> Points:
        """Figure units -> pixels of the canvas; the boxes of the region and of the whole figure grow by the outline."""
        pixels = self._origin + self._scale * outline * (1, -1)
        corners = np.stack([pixels.min(axis=0), pixels.max(axis=0)])
        for name in dict.fromkeys(("whole", region or "whole")):
            self._corners.setdefault(name, []).append(corners)
        return pixels
