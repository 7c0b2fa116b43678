"""`focus prepare synthetic`: a dataset folder of drawn pedestrians, and the boxes of their body regions."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from focuscli.data.folder import check_target, write_folder
from focuscli.data.prepare import PrepareReport
from focuscli.data.schema import builtin_schema
from focuscli.data.splits import identity_split
from focuscli.data.synthetic.drawing import SIZE, draw
from focuscli.data.synthetic.labels import labels_of
from focuscli.data.synthetic.person import Person, restage, sample_person
from focuscli.data.synthetic.styles import style_of
from focuscli.errors import InputError, UsageError

BOXES_FILE = "boxes.jsonl"
FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}
_WARNING = "These are drawings: what is measured on them shows that the program works, not how well on photographs."


def prepare_synthetic(
    out: Path,
    *,
    images: int = 600,
    seed: int = 0,
    style: str = "street",
    size: tuple[int, int] = SIZE,
    people: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Draw a dataset. The same arguments give the same labels, boxes and pixels.

    Each person is in one to three images, in other views and places, and in one split only (train, val and test with
    about 60, 15 and 25% of the images). Labels state what can be seen, see `labels.labels_of`.

    Args:
        style: the camera, a key of `styles.STYLES`.
        size: (height, width) of the images in pixels.
        people: draw the people that this other style would show with this seed, in the same views and poses; by default
            each style has its own.
        progress: called with (images drawn, images).

    Raises:
        UsageError: unknown style, negative seed, too small a size or too few images.
        InputError: `out` exists and may not be replaced.
    """
    started = time.monotonic()
    camera, cast = style_of(style), style_of(people or style)
    out = Path(out)
    _check(images, seed, size)
    check_target(out, overwrite=overwrite)
    schema = builtin_schema("synthetic")
    files: dict[str, bytes | str] = {}
    persons, rows, boxes = [], [], []
    for number, (name, person) in enumerate(cast_of(images, seed, cast.name)):
        rng = np.random.default_rng([seed, style_key(style), number])
        drawing = draw(person, camera, size=size, rng=rng)
        image = f"images/{number + 1:05}.jpg"
        encoded = io.BytesIO()
        drawing.image.save(encoded, "JPEG", quality=camera.quality)
        files[image] = encoded.getvalue()
        labels = labels_of(person)
        rows.append([labels[attribute.name] for attribute in schema.attributes])
        persons.append(name)
        boxes.append(json.dumps({"image": image, "boxes": drawing.boxes}))
        if progress is not None:
            progress(number + 1, images)
    names = list(files)
    files[BOXES_FILE] = "\n".join(boxes) + "\n"
    owners = np.array(persons, np.str_)
    splits = identity_split(owners, FRACTIONS, seed)
    notes = [
        f"{images:,} drawings of {len(set(persons)):,} people, camera style {style}: {camera.title}.",
        f"No person is in two splits. The boxes of head, upper, lower, foot, bag and whole are in {BOXES_FILE}.",
        "Labels state what can be seen: no glasses from behind, no logo from the side.",
    ]
    info: dict[str, Any] = {
        "dataset": "synthetic",
        "source": "drawn",
        "style": style,
        "people": cast.name,
        "seed": seed,
        "size": list(size),
        "split": "identity",
        "warnings": [_WARNING],
        "notes": notes,
    }
    folder = write_folder(
        out,
        schema,
        names,
        splits,
        owners,
        np.array(rows, np.int8),
        overwrite=overwrite,
        extra_files=files,
        info=info,
    )
    return PrepareReport(
        path=folder.path,
        name=schema.name,
        images=images,
        attributes=len(schema.attributes),
        evaluated=len(schema.evaluated),
        counts=folder.counts,
        warnings=[_WARNING],
        notes=notes,
        seconds=time.monotonic() - started,
    )


def cast_of(images: int, seed: int, style: str) -> Iterator[tuple[str, Person]]:
    """Who is in each image: `images` pairs of a name and the person in the view and pose of that image."""
    rng = np.random.default_rng([seed, style_key(style)])
    drawn, number = 0, 0
    while drawn < images:
        number += 1
        person = sample_person(rng)
        for take in range(int(rng.integers(1, 4))):
            if drawn < images:
                yield f"{style}-{number:05}", person if take == 0 else restage(person, rng)
                drawn += 1


def read_boxes(folder: Path) -> list[dict[str, Any]]:
    """The boxes of a drawn dataset in the order of its images.

    Returns:
        one {"image": path as in labels.csv, "boxes": {region: [left, top, right, bottom]}} per image, in pixels.

    Raises:
        InputError: the folder has no boxes, or a line of them is damaged.
    """
    path = Path(folder) / BOXES_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read {path}: {error}.", "Only drawn datasets have it: focus prepare synthetic"
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: no valid JSON ({error}).", "Draw the dataset again.") from error
        if not isinstance(entry, dict) or not {"image", "boxes"} <= entry.keys():
            raise InputError(f"{path}, line {number}: image or boxes is missing.", "Draw the dataset again.")
        found.append(entry)
    return found


def _check(images: int, seed: int, size: tuple[int, int]) -> None:
    if images < 20:
        raise UsageError(f"{images} images are too few for three splits.", "Ask for at least 20.")
    if seed < 0:
        raise UsageError(f"The seed is {seed}.", "Give 0 or a positive number.")
    if min(size) < 32 or max(size) > 4096:
        raise UsageError(f"Cannot draw {size[0]} x {size[1]} pixels.", "Height and width: 32 to 4096.")


def style_key(style: str) -> int:
    """A number that stands for a style's name, the same on every machine."""
    return zlib.crc32(style.encode())
