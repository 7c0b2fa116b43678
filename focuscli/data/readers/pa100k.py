"""PA-100K's official files: annotation.mat with names, labels and the split, and the images of release_data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import (
    Annotations,
    find_file,
    find_image_root,
    other_counts,
    rare_attributes,
    slashed,
)
from focuscli.data.schema import builtin_schema
from focuscli.errors import UsageError

PUBLISHED = {"train": 80_000, "val": 10_000, "test": 10_000}
_RELEASE = "release_data"
_IMAGE_FOLDERS = (
    f"{_RELEASE}/{_RELEASE}",
    _RELEASE,
    f"data/{_RELEASE}/{_RELEASE}",
    f"data/{_RELEASE}",
    "data",
    "images",
    "",
)


def read_pa100k(source: Path, *, split: str = "official", images: Path | None = None) -> Annotations:
    """Read annotation.mat: attributes, {train,val,test}_images_name and {train,val,test}_label.

    Args:
        source: the folder of annotation.mat or the one around it, or the file.
        images: the folder of the images; by default found beside the file.

    Raises:
        UsageError: another split than "official". InputError: not PA-100K, or damaged.
    """
    if split != "official":
        raise UsageError(f'Unknown split "{split}".', f"PA-100K has one: official ({slashed(PUBLISHED)}).")
    schema = builtin_schema("pa100k")
    wanted = [attribute.name for attribute in schema.attributes]
    file = find_file(source, "annotation.mat", "PA-100K", ("PA-100K", "PA100K", "pa100k", "data"))
    names: list[str] = []
    tables, parts = [], []
    with mat.open_mat(file, "Fetch annotation.mat again; the real one has 579 kB.") as variables:
        attributes = mat.strings(variables["attributes"])
        if attributes != wanted:
            different = [name for name in attributes if name not in wanted] or attributes
            raise ValueError(
                f"it has {len(attributes)} attributes and not PA-100K's {len(wanted)} in their order ({different[0]})"
            )
        for part in PUBLISHED:
            found = mat.strings(variables[f"{part}_images_name"])
            tables.append(mat.attribute_labels(variables[f"{part}_label"], wanted, schema, (0, 1)))
            if len(tables[-1]) != len(found):
                raise ValueError(f"{part}_label has {len(tables[-1]):,} rows, but there are {len(found):,} names")
            names += found
            parts += [part] * len(found)
        if len(set(names)) != len(names):
            raise ValueError("it names an image twice")
    labels, splits = np.concatenate(tables), np.array(parts, dtype=np.str_)
    shares = "female 46 % and 39 %, under 18 6.2 % and 0.9 %"
    differ = f"Labels differ between train and test ({shares}): thresholds from val carry that."
    root = images or find_image_root([file.parent / folder for folder in _IMAGE_FOLDERS], names)
    persons = np.full(len(names), "", dtype=np.str_)
    warnings = [
        *(other_counts("PA-100K", splits, PUBLISHED) or [differ]),
        "PA-100K names no persons, so whether test shows people of train cannot be checked.",
        "Published rows train on train + val (90,000 images): focus train --set data.train_split=trainval.",
        *rare_attributes(schema, labels, splits),
    ]
    info = {"labels_from": file.name}
    return Annotations(schema, root.resolve(), names, splits, persons, labels, split, PUBLISHED, warnings, info=info)
