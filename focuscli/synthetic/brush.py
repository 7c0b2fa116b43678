"""Painting with shapes: splines, limbs, patterns and soft shading, with a record of where each region was painted.

Coordinates are figure units: pixels of a 256 x 128 (height x width) image, x to the right, y downwards. The canvas is
larger by an integer factor (supersampling) and is reduced at the end, which smooths the edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Point = tuple[float, float]
Colour = tuple[int, int, int]
Polygon = list[Point]
Box = tuple[float, float, float, float]
Paint = Colour | Callable[[ImageDraw.ImageDraw, Box, float], Colour]
"""A colour, or a pattern: it draws itself into a box (figure units, upper left corner at 0, 0 on the drawing) at a
scale. Returns the colour that it has put below."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two; `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.3) -> Colour:
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    return mix(colour, (255, 255, 255), share)


def smooth(points: Sequence[Point], steps: int = 6) -> Polygon:
    """A closed Catmull-Rom spline through the points."""
    count = len(points)
    outline: Polygon = []
    for index in range(count):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = (points[(index + offset) % count] for offset in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            t2, t3 = t * t, t * t * t
            w = (-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1, -1.5 * t3 + 2 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2)
            outline.append(
                (w[0] * ax + w[1] * bx + w[2] * cx + w[3] * dx, w[0] * ay + w[1] * by + w[2] * cy + w[3] * dy)
            )
    return outline


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Polygon:
    """An ellipse or, with angles in degrees (0 = right, 90 = down), a segment of one."""
    steps = 28
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float) -> Polygon:
    """A rectangle with round corners."""
    radius = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    outline: Polygon = []
    for x, y, start in (
        (x1 - radius, y0 + radius, -90),
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
    ):
        for step in range(5):
            angle = math.radians(start + 22.5 * step)
            outline.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return outline


def limb(points: Sequence[Point], radii: Sequence[float]) -> list[Polygon]:
    """A chain of tapered tubes through joints, round at the joints."""
    shapes = [ellipse(x, y, radius, radius) for (x, y), radius in zip(points, radii, strict=True)]
    for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:], strict=False):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y0 - y1) / length, (x1 - x0) / length
        shapes.append(
            [(x0 + nx * r0, y0 + ny * r0), (x1 + nx * r1, y1 + ny * r1), (x1 - nx * r1, y1 - ny * r1)]
            + [(x0 - nx * r0, y0 - ny * r0)]
        )
    return shapes


@lru_cache(maxsize=64)
def _shade_table(depth: float) -> list[int]:
    """How much light is left (0..255) for each value of the blurred, shifted shape."""
    return [round(255 * (1 - depth * (1 - (value / 255)) ** 1.3)) for value in range(256)]


@dataclass
class Brush:
    """Paints on an image.

    Attributes:
        image: RGB canvas.
        scale: canvas pixels per figure unit.
        origin: canvas position, in pixels, of figure position (0, 0).
        mirror: x about which the figure is mirrored, None for not at all.
        light: where the light comes from, -1 left to 1 right.
        boxes: region -> canvas pixels (x0, y0, x1, y1; x1 and y1 outside) that were painted so far.
    """

    image: Image.Image
    scale: float
    origin: Point
    mirror: float | None = None
    light: float = -0.6
    boxes: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)

    def paint(
        self,
        shapes: Sequence[Polygon],
        paint: Paint,
        region: str | None,
        *,
        depth: float = 0.45,
        softness: float = 5.0,
        clip: Sequence[Polygon] | None = None,
    ) -> None:
        """Fill the union of polygons, darker towards the edge away from the light.

        Args:
            region: whose box grows; None for none.
            depth: how dark the dark side gets, 0 = flat.
            softness: width of the shading in figure units.
            clip: paint only inside these polygons.
        """
        outlines = [self._place(shape) for shape in shapes]
        margin = 2
        xs = [x for outline in outlines for x, _ in outline]
        ys = [y for outline in outlines for _, y in outline]
        left, top = math.floor(min(xs)) - margin, math.floor(min(ys)) - margin
        size = (math.ceil(max(xs)) + margin + 1 - left, math.ceil(max(ys)) + margin + 1 - top)
        mask = self._mask(outlines, left, top, size)
        if clip is not None:
            mask = ImageChops.darker(mask, self._mask([self._place(shape) for shape in clip], left, top, size))
        if callable(paint):
            filled = Image.new("RGB", size)
            box = (
                (left - self.origin[0]) / self.scale,
                (top - self.origin[1]) / self.scale,
                (left + size[0] - self.origin[0]) / self.scale,
                (top + size[1] - self.origin[1]) / self.scale,
            )
            paint(ImageDraw.Draw(filled), box, self.scale)
        else:
            filled = Image.new("RGB", size, paint)
        if depth > 0:
            filled = ImageChops.multiply(filled, self._shade(mask, depth, softness))
        self.image.paste(filled, (left, top), mask)
        if region is not None:
            self._grow(region, mask, left, top)

    def line(self, points: Sequence[Point], width: float, colour: Colour, region: str | None) -> None:
        """An even line, width in figure units, without shading."""
        self.paint(limb(points, [width / 2] * len(points)), colour, region, depth=0)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.paint([ellipse(x, y, radius, radius)], colour, None, depth=0)

    def _place(self, shape: Polygon) -> Polygon:
        (ox, oy), scale = self.origin, self.scale
        if self.mirror is None:
            return [(ox + x * scale, oy + y * scale) for x, y in shape]
        return [(ox + (2 * self.mirror - x) * scale, oy + y * scale) for x, y in shape]

    @staticmethod
    def _mask(outlines: list[Polygon], left: int, top: int, size: tuple[int, int]) -> Image.Image:
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        for outline in outlines:
            draw.polygon([(x - left, y - top) for x, y in outline], fill=255)
        return mask

    def _shade(self, mask: Image.Image, depth: float, softness: float) -> Image.Image:
        reach = max(1, round(softness * self.scale))
        border = reach + 1
        wide = Image.new("L", (mask.width + 2 * border, mask.height + 2 * border))
        wide.paste(mask, (border, border))
        wide = wide.filter(ImageFilter.BoxBlur(reach * 0.6))
        # a lit edge takes the value from inside the shape, an edge in the shade the one from outside
        dx, dy = round(self.light * reach * 0.6), round(-0.25 * reach)
        corner = (border - dx, border - dy)
        shade = wide.crop((*corner, corner[0] + mask.width, corner[1] + mask.height)).point(_shade_table(depth))
        return Image.merge("RGB", (shade, shade, shade))

    def _grow(self, region: str, mask: Image.Image, left: int, top: int) -> None:
        found = mask.getbbox()
        if found is None:
            return
        box = (found[0] + left, found[1] + top, found[2] + left, found[3] + top)
        old = self.boxes.get(region, box)
        self.boxes[region] = (
            min(old[0], box[0]),
            min(old[1], box[1]),
            max(old[2], box[2]),
            max(old[3], box[3]),
        )
