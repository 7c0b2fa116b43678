"""PA-100K's official files: annotation.mat with names, labels and the split, and the images of release_data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import Annotations, find_file, find_image_root, reading
from focuscli.data.schema import builtin_schema
from focuscli.errors import UsageError

PUBLISHED = {"train": 80_000, "val": 10_000, "test": 10_000}
_PUBLISHED = "Published rows train on train + val (90,000 images): --train-split trainval."
_SHIFT = (
    "labels differ between train and test (female 46% and 39%, under 18 6.2% and 0.9%): thresholds from val carry that"
)


def read_pa100k(source: Path, *, split: str = "official", images: Path | None = None) -> Annotations:
    """Read annotation.mat: attributes, {train,val,test}_images_name and {train,val,test}_label.

    Args:
        source: the folder of annotation.mat or one around it, or the file.
        images: the folder of the images; by default found beside the file.

    Raises:
        UsageError: another split than "official". InputError: not PA-100K, or damaged.
    """
    if split != "official":
        raise UsageError(f'Unknown split "{split}".', "PA-100K has one: official (80,000 / 10,000 / 10,000).")
    schema = builtin_schema("pa100k")
    file = find_file(source, "annotation.mat")
    names: list[str] = []
    tables, parts = [], []
    with reading(file, "Fetch annotation.mat again; the real one has 579 kB."):
        variables = mat.variables(file)
        attributes = mat.strings(variables["attributes"])
        for part in PUBLISHED:
            names += mat.strings(variables[f"{part}_images_name"])
            tables.append(mat.attribute_labels(variables[f"{part}_label"], attributes, schema, (0, 1)))
            parts += [part] * len(tables[-1])
            if len(names) != len(parts):
                raise ValueError(f"{part}_label does not have a row for each image")
    release = file.parent / "release_data" / "release_data"
    root = find_image_root(images, [release, *sorted(file.parent.glob("**/"))], names)
    persons = np.full(len(names), "", dtype=np.str_)
    labels, splits = np.concatenate(tables), np.array(parts, dtype=np.str_)
    whole = len(names) == sum(PUBLISHED.values())  # what is said of it need not hold of a part
    warnings, notes = ([_PUBLISHED], [_SHIFT]) if whole else ([], [])
    return Annotations(schema, root, names, splits, persons, labels, split, PUBLISHED, warnings, notes)
