"""`focus prepare synthetic`: a dataset folder of synthetic pedestrians, and the boxes of their body regions."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focuscli.data.folder import check_target, write_folder
from focuscli.data.prepare import PrepareReport, Progress
from focuscli.data.schema import builtin_schema
from focuscli.data.splits import identity_split
from focuscli.data.synthetic.drawing import STYLES, Drawing, draw
from focuscli.data.synthetic.people import Person, labels_of, sample_people
from focuscli.errors import UsageError, did_you_mean

BOXES_FILE = "boxes.jsonl"
JPEG_QUALITY = 90
FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}
_WARNING = (
    "These pedestrians are drawn: metrics on them show that the program works, not how well it does on photographs."
)


@dataclass(frozen=True)
class Sample:
    """One synthetic image: its person's number, from 1, the person in the view and pose of the image, and the drawing."""

    number: int
    person: Person
    drawing: Drawing


def synthetic_images(images: int, seed: int, style: str, progress: Progress | None = None) -> Iterator[Sample]:
    """Draw `images` images. The same arguments give the same labels, boxes and pixels.

    Each person is in one to three consecutive images, in other views and places; each style has its own people.

    Args:
        images: at least 20, so that no split of a dataset of them is empty.
        style: the camera, a key of `drawing.STYLES`.
        progress: called with (images drawn, images).

    Raises:
        UsageError: unknown style, negative seed or too few images.
    """
    if style not in STYLES:
        raise UsageError(f'Unknown style "{style}".', did_you_mean(style, STYLES))
    if images < 20:
        raise UsageError(f"{images} images are too few for three splits.", "Ask for at least 20.")
    if seed < 0:
        raise UsageError(f"The seed is {seed}.", "Give 0 or a positive number.")
    key = zlib.crc32(style.encode())  # stands for the style, the same on every machine
    for index, (number, person) in enumerate(sample_people(images, np.random.default_rng([seed, key]))):
        yield Sample(number, person, draw(person, STYLES[style], rng=np.random.default_rng([seed, key, index])))
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
) -> PrepareReport:
    """Write a dataset folder of synthetic pedestrians, with labels that state what can be seen, see `people.labels_of`.

    No person is in two splits: train, val and test have about 60, 15 and 25% of the images.

    Args:
        images, seed, style, progress: see `synthetic_images`.

    Raises:
        UsageError: unknown style, negative seed or too few images.
        InputError: `out` exists and may not be replaced.
    """
    started = time.monotonic()
    check_target(out, overwrite=overwrite)
    schema = builtin_schema("synthetic")
    files: dict[str, bytes | str] = {}
    persons, rows, boxes = [], [], []
    for index, sample in enumerate(synthetic_images(images, seed, style, progress)):
        name = f"images/{index + 1:05}.jpg"
        encoded = io.BytesIO()
        sample.drawing.image.save(encoded, "JPEG", quality=JPEG_QUALITY)
        files[name] = encoded.getvalue()
        labels = labels_of(sample.person)
        rows.append([labels[attribute.name] for attribute in schema.attributes])
        persons.append(f"{style}-{sample.number:05}")
        boxes.append(json.dumps({"image": name, "boxes": sample.drawing.boxes}))
    names = list(files)
    files[BOXES_FILE] = "\n".join(boxes) + "\n"
    owners = np.array(persons, np.str_)
    notes = [
        f"{images:,} images of {len(set(persons)):,} synthetic pedestrians, camera style {style}: {STYLES[style].title}.",
        f"No person is in two splits. The boxes of head, upper, lower, foot, bag and whole are in {BOXES_FILE}.",
        "Labels state what can be seen: no glasses from behind, no logo from the side.",
    ]
    info = {"dataset": "synthetic", "source": "drawn", "style": style, "seed": seed, "split": "identity"}
    folder = write_folder(
        out,
        schema,
        names,
        identity_split(owners, FRACTIONS, seed),
        owners,
        np.array(rows, np.int8),
        overwrite=overwrite,
        extra_files=files,
        info=info | {"warnings": [_WARNING], "notes": notes},
    )
    return PrepareReport.of(folder, started, warnings=[_WARNING], notes=notes)
