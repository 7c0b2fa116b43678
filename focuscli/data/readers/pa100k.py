"""PA-100K's official files: annotation.mat with names, labels and the split, and the images of release_data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from focuscli.data.readers.mat import read_mat_file, strings
from focuscli.data.readers.official import Official, find_file, find_image_root, rare_attributes
from focuscli.data.schema import AttributeSchema, builtin_schema
from focuscli.errors import UsageError

PARTS = ("train", "val", "test")
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


def read_pa100k(source: Path, *, split: str = "official", images: Path | None = None) -> Official:
    """Read annotation.mat: attributes, {train,val,test}_images_name and {train,val,test}_label.

    Args:
        source: the folder of annotation.mat or the one around it, or the file.
        images: the folder of the images; by default found beside the file.

    Raises:
        UsageError: another split than "official". InputError: not PA-100K, or damaged.
    """
    if split != "official":
        raise UsageError(f'Unknown split "{split}".', "PA-100K has one: official (80,000 / 10,000 / 10,000).")
    schema = builtin_schema("pa100k")
    file = find_file(source, "annotation.mat", "PA-100K", ("PA-100K", "PA100K", "pa100k", "data"))
    hint = "Fetch annotation.mat again; the real one has 579 kB."
    names, labels, splits = read_mat_file(file, lambda variables: _parse(variables, schema), hint)
    root = images or find_image_root([file.parent / folder for folder in _IMAGE_FOLDERS], names)
    counts = {part: int((splits == part).sum()) for part in PARTS}
    warnings = []
    if counts != PUBLISHED:
        found = " / ".join(f"{counts[part]:,}" for part in PARTS)
        warnings.append(
            f"PA-100K has 80,000 / 10,000 / 10,000 images; this file says {found}. Published figures do not compare."
        )
    else:
        warnings.append(
            "Labels differ between train and test (female 46 % and 39 %, under 18 6.2 % and 0.9 %): thresholds from val "
            "carry that."
        )
    warnings += [
        "PA-100K names no persons: whether test shows people of train cannot be checked.",
        "Published rows train on train + val (90,000 images): focus train --set data.train_split=trainval.",
        *rare_attributes(schema, labels, splits),
    ]
    persons = np.full(len(names), "", dtype=np.str_)
    return Official(
        schema,
        root.resolve(),
        names,
        splits,
        persons,
        labels,
        split,
        PUBLISHED,
        warnings,
        info={"labels_from": file.name},
    )


def _parse(variables: dict[str, Any], schema: AttributeSchema) -> tuple[list[str], Any, Any]:
    attributes = strings(variables["attributes"])
    wanted = [attribute.name for attribute in schema.attributes]
    if attributes != wanted:
        different = [name for name in attributes if name not in wanted] or attributes
        raise ValueError(
            f"it has {len(attributes)} attributes and not PA-100K's {len(wanted)} in their order ({different[0]})"
        )
    names: list[str] = []
    labels, splits = [], []
    for part in PARTS:
        found = strings(variables[f"{part}_images_name"])
        table = np.asarray(variables[f"{part}_label"])
        if table.shape != (len(found), len(wanted)):
            raise ValueError(f"{part}_label has shape {table.shape}, but there are {len(found):,} names")
        if not np.isin(table, (0, 1)).all():
            raise ValueError(f"{part}_label holds values other than 0 and 1")
        names += found
        labels.append(table.astype(np.int8))
        splits += [part] * len(found)
    if len(set(names)) != len(names):
        raise ValueError("it names an image twice")
    return names, np.concatenate(labels), np.array(splits, dtype=np.str_)
