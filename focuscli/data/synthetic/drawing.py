"""One drawing: a person before a background, through a camera of a style."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from focuscli.data.synthetic.backdrop import draw_backdrop
from focuscli.data.synthetic.canvas import Box, Camera, Canvas
from focuscli.data.synthetic.figure import draw_figure
from focuscli.data.synthetic.person import Person
from focuscli.data.synthetic.styles import Range, Style

SIZE = (256, 128)


@dataclass(frozen=True)
class Drawing:
    """A drawn crop.

    Attributes:
        image: RGB.
        boxes: region -> (left, top, right, bottom) in pixels of the image, clipped to it: head (with hair and hat),
            upper (clothes and arms), lower (clothes and legs), foot, bag (where something is carried and can be seen) and
            whole (everything). A box holds the whole part, also where something else covers it.
    """

    image: Image.Image
    boxes: dict[str, Box]


def draw(person: Person, style: Style, *, size: tuple[int, int] = SIZE, rng: np.random.Generator) -> Drawing:
    """Draw a person.

    Args:
        size: (height, width) of the picture in pixels; a style with `framing` cuts the crop out of it.
        rng: for everything that is not the person: background, light, place in the picture, blur, noise. The same person
            with a generator in the same state gives the same pixels.
    """
    height, width = size
    camera = Camera(
        size=size,
        centre=width * (0.5 + float(rng.uniform(-style.jitter, style.jitter))),
        ground=height * float(rng.uniform(0.945, 0.97)),
        scale=height * _lot(style.scale, rng),
        elevation=_lot(style.elevation, rng),
        light=float(rng.uniform(-1, 1)),
    )
    scene = style.scenes[rng.integers(len(style.scenes))]
    pixel = height / 256
    canvas = Canvas(camera, draw_backdrop(scene, camera, _lot(style.depth, rng) * pixel, rng))
    draw_figure(canvas, person)
    drawing = Drawing(_develop(canvas.finish(), style, pixel, rng), canvas.boxes())
    return drawing if style.framing is None else _cut(drawing, style.framing)


def _cut(drawing: Drawing, margin: float) -> Drawing:
    """The crop around the figure, as far as the picture reaches."""
    left, top, right, bottom = drawing.boxes["whole"]
    across, along = margin * (right - left), margin * (bottom - top)
    x0, y0 = max(0, round(left - across)), max(0, round(top - along))
    x1, y1 = min(drawing.image.width, round(right + across)), min(drawing.image.height, round(bottom + along))
    boxes = {
        region: (round(a - x0, 2), round(b - y0, 2), round(c - x0, 2), round(d - y0, 2))
        for region, (a, b, c, d) in drawing.boxes.items()
    }
    return Drawing(drawing.image.crop((x0, y0, x1, y1)), boxes)


def _develop(image: Image.Image, style: Style, pixel: float, rng: np.random.Generator) -> Image.Image:
    """What lens, sensor and light do to the picture."""
    blur = _lot(style.blur, rng) * pixel
    detail = _lot(style.detail, rng)
    if detail < 1:
        small = (max(8, round(image.width * detail)), max(8, round(image.height * detail)))
        image = image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    if blur > 0.05:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    brightness, contrast = _lot(style.brightness, rng), _lot(style.contrast, rng)
    values = np.asarray(image, np.float32)
    gain = np.array(style.cast, np.float32) * np.float32(brightness * contrast)
    offset = np.float32(128 * (1 - contrast) * brightness)
    values = values * gain
    values += offset
    if style.vignette:
        values *= _vignette(image.height, image.width, style.vignette)
    noise = _lot(style.noise, rng)
    if noise > 0:
        # One random number per pixel for all colours, mirrored for the tint: three times cheaper, and looks as real.
        grain = rng.standard_normal((image.height, image.width), np.float32) * np.float32(noise)
        values += grain[..., None]
        values[..., 0] += grain[:, ::-1] * np.float32(0.4)
        values[..., 2] += grain[::-1] * np.float32(0.5)
    np.clip(values, 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8))


def _lot(bounds: Range, rng: np.random.Generator) -> float:
    return float(rng.uniform(*bounds))


@functools.lru_cache(maxsize=16)
def _vignette(height: int, width: int, strength: float) -> NDArray[np.float32]:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return (1 - strength * (x * x + y * y) / 2)[..., None].astype(np.float32)
