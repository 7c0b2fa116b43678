"""RAP_annotation.mat of RAPv1 and of RAPv2, two structs of one name, and the images of RAP_dataset.

The reader of RAPv2 was written from programs that read its file; it was never run on the real one, which is sent on request
only. What the file says takes precedence: which of the known attributes it has, and which are evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import (
    NO_VAL,
    PARTITIONS_OVERLAP,
    Annotations,
    find_file,
    find_image_root,
    official_partition,
    reading,
)
from focuscli.data.readers.pickles import ZS_EXCLUDED, ZS_PREFIX, read_zero_shot_splits, zero_shot_file
from focuscli.data.schema import UNCERTAIN, builtin_schema, subset_schema
from focuscli.data.splits import known_persons

FILE = "RAP_annotation.mat"
PUBLISHED_V1 = {"train": 33_268, "test": 8_317}
PUBLISHED_V2 = {"train": 50_957, "val": 16_986, "test": 16_985}
PUBLISHED_ZS = {"train": 17_062, "val": 4_628, "test": 4_928}
EVALUATED_V2 = 54
_LABELS = (0, 1, UNCERTAIN)


def read_rapv1(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read RAPv1: label, attribute_eng, imagesname, identity and the five partitions (`partion`).

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv1, or damaged.
    """
    number = official_partition(split, "official:0 to official:4")
    schema = builtin_schema("rapv1")
    file = find_file(source, FILE)
    hint = f"Fetch {FILE} again. If it is RAPv2's: focus prepare rapv2"
    with reading(file, hint):
        struct = mat.variables(file)["RAP_annotation"][0, 0]
        names = mat.strings(struct["imagesname"])
        labels = mat.attribute_labels(struct["label"], mat.strings(struct["attribute_eng"]), schema, _LABELS)
        identity = np.asarray(struct["identity"]).astype(np.int64).ravel().tolist()
        if not len(names) == len(labels) == len(identity):
            raise ValueError(f"it has {len(labels):,} rows and {len(identity):,} identities for {len(names):,} images")
        parts = {"train_index": "train", "test_index": "test"}
        splits = mat.partition_splits(struct["partion"], number, parts, len(names))
    persons = known_persons(identity)
    warnings = [f"Published rows use partition 0; this is partition {number}."] if number else []
    notes = [NO_VAL, PARTITIONS_OVERLAP]
    root = _root(images, file, names)
    return Annotations(schema, root, names, splits, persons, labels, split, PUBLISHED_V1, warnings, notes)


def read_rapv2(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read RAPv2: name, data, attribute, selected_attribute (from 1) and partition_attribute.

    Args:
        source, images: see `read_rapv1`.
        split: a partition of the file, or "zs:FILE" for RAP-ZS, see `read_zero_shot_splits`.

    Raises:
        UsageError: no such split. InputError: not RAPv2, or damaged.
    """
    zs_file = zero_shot_file(split) if split.startswith(ZS_PREFIX) else None
    number = 0 if zs_file else official_partition(split, "official:0 to official:4, zs:FILE")
    file = find_file(source, FILE)
    hint = f"Fetch {FILE} of RAPv2 again. If it is RAPv1's: focus prepare rapv1"
    with reading(file, hint):
        struct = mat.variables(file)["RAP_annotation"][0, 0]
        names, columns = mat.strings(struct["name"]), mat.strings(struct["attribute"])
        table = np.asarray(struct["data"])
        if len(table) != len(names):
            raise ValueError(f"it has {len(table):,} rows for {len(names):,} images")
        selected = np.asarray(struct["selected_attribute"]).astype(np.int64).ravel().tolist()
        evaluated = {columns[column - 1] for column in selected if column > 0}
        if zs_file:
            evaluated.discard(ZS_EXCLUDED)
        # Of the file's 152 columns some are not attributes (boxes, for one).
        usable = np.flatnonzero(np.isin(table, _LABELS).all(axis=0))
        schema = subset_schema(builtin_schema("rapv2"), [columns[column] for column in usable], evaluated)
        labels = mat.attribute_labels(table, columns, schema, _LABELS)
        if not zs_file:
            parts = {f"{part}_index": part for part in PUBLISHED_V2}
            splits = mat.partition_splits(struct["partition_attribute"], number, parts, len(names))
    if zs_file:
        splits = read_zero_shot_splits(zs_file, names)
    warnings = [
        "This reader was never run on the real file of RAPv2: compare the counts, and check some images' labels."
    ]
    notes = [] if zs_file else [PARTITIONS_OVERLAP]
    count, wanted = len(schema.evaluated), EVALUATED_V2 - (zs_file is not None)
    if count != wanted:
        warnings.append(f"{wanted} attributes should be evaluated; here are {count}. Published metrics do not compare.")
    persons = np.full(len(names), "", dtype=np.str_)
    published = PUBLISHED_ZS if zs_file else PUBLISHED_V2
    root = _root(images, file, names)
    return Annotations(schema, root, names, splits, persons, labels, split, published, warnings, notes)


def _root(images: Path | None, file: Path, names: Sequence[str]) -> Path:
    """The folder of RAP's images: RAP_dataset beside the annotation or its folder, or one of these two."""
    above, here = file.parent.parent, file.parent
    return find_image_root(images, (above / "RAP_dataset", here / "RAP_dataset", above, here), names)
