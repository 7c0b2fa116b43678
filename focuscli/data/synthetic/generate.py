"""Synthetic pedestrians before a background, through the camera of a style, and `focus prepare synthetic`: a dataset folder
of them with the boxes of their body regions."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from focuscli.data.folder import DatasetFolder, check_target, write_folder
from focuscli.data.prepare import Progress
from focuscli.data.schema import builtin_schema
from focuscli.data.splits import identity_split
from focuscli.data.synthetic.canvas import Box, Canvas, shaded
from focuscli.data.synthetic.figure import draw_figure
from focuscli.data.synthetic.people import CLOTHES, Colour, Person, labels_of, sample_people
from focuscli.errors import UsageError, did_you_mean

BOXES_FILE = "boxes.jsonl"
FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}
_WARNING = "These pedestrians are drawn: metrics on them show that the program works, not how well on photographs."
HEIGHT, WIDTH = 256, 128  # pixels of the picture that the crop around the figure is cut from
Range = tuple[float, float]
_WALLS = ((178, 160, 142), (156, 150, 146), (190, 178, 156), (150, 122, 104), (166, 174, 180))
_FLOORS = ((150, 148, 146), (128, 128, 130), (168, 162, 152), (112, 114, 118))


@dataclass(frozen=True)
class Style:
    """One camera.

    Attributes:
        outdoors: before houses and a pavement that differ from image to image; else always before the same grey wall.
        scale: height of a tall adult as a part of the picture's height.
        shift: how far the figure may be off the middle, as a part of the picture's width.
        light: factors of red, green and blue. brightness: a factor of all three.
        blur: radius in pixels. noise: standard deviation, of 255.
        margin: what is kept around the figure's box, as a part of its width and height, like the crop of a person detector.
    """

    outdoors: bool = True
    scale: Range = (0.85, 0.91)
    shift: float = 0.035
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    brightness: Range = (0.88, 1.12)
    blur: Range = (0.0, 0.7)
    noise: Range = (1.0, 4.0)
    margin: float = 0.06


STYLES = {
    "studio": Style(  # grey wall, even light, cropped closely
        outdoors=False, scale=(0.89, 0.89), shift=0, brightness=(1, 1), blur=(0, 0.2), noise=(0, 1), margin=0.04
    ),
    "street": Style(),  # by day, cropped as a detector would
    "night": Style(light=(0.52, 0.6, 0.76), blur=(0.4, 1.2), noise=(7.0, 13.0)),  # dark, bluish, noisy
}


def draw(person: Person, style: Style, *, rng: np.random.Generator) -> tuple[Image.Image, dict[str, Box]]:
    """Draw a person.

    Args:
        rng: for everything that is not the person: background, light, place in the picture, blur, noise. The same person
            with a generator in the same state gives the same pixels.

    Returns:
        An RGB crop, and region -> (left, top, right, bottom) in its pixels: head (with hair and hat), upper (clothes and
        arms), lower (clothes and legs), foot, bag (where something is carried and can be seen) and whole (everything). A box
        holds the whole part, also where something else covers it.
    """
    canvas = Canvas(
        _draw_background(style, rng),
        centre=WIDTH * (0.5 + float(rng.uniform(-style.shift, style.shift))),
        ground=HEIGHT * float(rng.uniform(0.945, 0.97)),
        scale=HEIGHT * float(rng.uniform(*style.scale)),
        light=float(rng.uniform(-1, 1)),
    )
    draw_figure(canvas, person)
    picture, boxes = canvas.finish()
    left, top, right, bottom = boxes["whole"]
    across, along = style.margin * (right - left), style.margin * (bottom - top)
    x, y = max(0, round(left - across)), max(0, round(top - along))
    crop = picture.crop((x, y, min(WIDTH, round(right + across)), min(HEIGHT, round(bottom + along))))
    for region, (left, top, right, bottom) in boxes.items():
        boxes[region] = (round(left - x, 2), round(top - y, 2), round(right - x, 2), round(bottom - y, 2))
    return _develop(crop, style, rng), boxes


def _draw_background(style: Style, rng: np.random.Generator) -> Image.Image:
    """A grey wall, or a street with houses, pavement and sometimes a car."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (176, 180, 184))
    pen = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A rectangle; x as a part of the width, y of the height."""
        pen.rectangle((left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT), fill=colour)

    if not style.outdoors:
        box(0, 0.82, 1, 1, (164, 168, 172))
        return image
    ground = float(rng.uniform(0.5, 0.65))
    wall, floor = _WALLS[rng.integers(len(_WALLS))], _FLOORS[rng.integers(len(_FLOORS))]
    box(0, 0, 1, ground, wall)
    box(0, 0, 1, ground * float(rng.uniform(0.0, 0.3)), (186, 206, 226))
    box(float(rng.uniform(0.3, 1.0)), ground * 0.1, 1, ground, shaded(wall, 0.8))
    columns = int(rng.integers(2, 5))
    glass = shaded((140, 160, 180), float(rng.uniform(0.6, 1.0)))
    for row in range(3):
        for column in range(columns):
            x, y = (column + 0.2) / columns, ground * (0.06 + 0.3 * row)
            box(x, y, x + 0.6 / columns, y + ground * 0.19, glass)
    box(0, ground, 1, 1, floor)
    for step in range(5):
        y = ground + (1 - ground) * (step / 5) ** 1.6
        box(0, y, 1, y + 0.006, shaded(floor, 0.8))
    if rng.random() < 0.5:  # a parked car
        x, colours = float(rng.uniform(-0.3, 0.7)), [shade for shades in CLOTHES.values() for shade in shades]
        box(x, ground - 0.1, x + 0.75, ground + 0.04, colours[rng.integers(len(colours))])
        box(x + 0.12, ground - 0.16, x + 0.6, ground - 0.1, (74, 84, 96))
    return image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.6, 1.6))))


def _develop(image: Image.Image, style: Style, rng: np.random.Generator) -> Image.Image:
    """What lens, light and sensor do to the picture."""
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*style.blur))))
    values = np.asarray(image, np.float32) * np.array(style.light, np.float32)
    values *= np.float32(rng.uniform(*style.brightness))
    values += rng.standard_normal(values.shape, np.float32) * np.float32(rng.uniform(*style.noise))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


class Sample(NamedTuple):
    """One synthetic image: its person's number, from 1, and the person in its view and pose; image and boxes of `draw`."""

    number: int
    person: Person
    image: Image.Image
    boxes: dict[str, Box]


def synthetic_images(images: int, seed: int, style: str, progress: Progress | None = None) -> Iterator[Sample]:
    """Draw `images` images. The same arguments give the same labels, boxes and pixels.

    Each person is in one to three consecutive images, in other views and places; each style has its own people.

    Args:
        images: from 20 on no split of a dataset of them is empty.
        style: the camera, a key of `STYLES`.
        progress: called with (images drawn, images).

    Raises:
        UsageError: unknown style.
    """
    if style not in STYLES:
        raise UsageError(f'Unknown style "{style}".', did_you_mean(style, STYLES))
    key = zlib.crc32(style.encode())  # stands for the style, the same on every machine
    for index, (number, person) in enumerate(sample_people(images, np.random.default_rng([seed, key]))):
        yield Sample(number, person, *draw(person, STYLES[style], rng=np.random.default_rng([seed, key, index])))
        if progress is not None:
            progress(index + 1, images)


def prepare_synthetic(
    out: Path,
    *,
    images: int = 600,
    seed: int = 0,
    style: str = "street",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DatasetFolder:
    """Write a dataset folder of synthetic pedestrians, with labels that state what can be seen, see `people.labels_of`.

    No person is in two splits: train, val and test have about 60, 15 and 25% of the images.

    Args:
        images, seed, style, progress: see `synthetic_images`.

    Raises:
        UsageError: unknown style.
        InputError: `out` exists and may not be replaced.
    """
    check_target(out, overwrite=overwrite)
    schema = builtin_schema("synthetic")
    files: dict[str, bytes | str] = {}
    persons, rows, boxes = [], [], []
    for index, sample in enumerate(synthetic_images(images, seed, style, progress)):
        name = f"images/{index + 1:05}.jpg"
        encoded = io.BytesIO()
        sample.image.save(encoded, "JPEG", quality=90)
        files[name] = encoded.getvalue()
        labels = labels_of(sample.person)
        rows.append([labels[attribute.name] for attribute in schema.attributes])
        persons.append(f"{style}-{sample.number:05}")
        boxes.append(json.dumps({"image": name, "boxes": sample.boxes}))
    owners = np.array(persons, np.str_)
    notes = [
        f"{images:,} images of {len(set(persons)):,} synthetic pedestrians, camera style {style}.",
        f"No person is in two splits. The boxes of head, upper, lower, foot, bag and whole are in {BOXES_FILE}.",
        "Labels state what can be seen: no glasses from behind, no logo from the side.",
    ]
    info: dict[str, Any] = {"dataset": "synthetic", "source": "drawn", "style": style, "seed": seed}
    info |= {"split": "identity", "warnings": [_WARNING], "notes": notes}
    splits = identity_split(owners, FRACTIONS, seed)
    folder = DatasetFolder(out, schema, tuple(files), splits, owners, np.array(rows, np.int8), info)
    files[BOXES_FILE] = "\n".join(boxes) + "\n"
    return write_folder(folder, overwrite=overwrite, extra_files=files)
