"""RAPv1's official files: RAP_annotation.mat and the images of RAP_dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.readers.mat import partition_parts, read_mat_file, strings
from focuscli.data.readers.official import (
    Official,
    find_file,
    find_rap_images,
    official_partition,
    partition_splits,
    rare_attributes,
)
from focuscli.data.schema import UNCERTAIN, AttributeSchema, builtin_schema
from focuscli.data.splits import shared_persons

PARTS = {"train_index": "train", "test_index": "test"}
PUBLISHED = {"train": 33_268, "test": 8_317}
_UNKNOWN_PERSON = -1


@dataclass(frozen=True, eq=False)
class RapMat:
    """The content of RAP_annotation.mat for N images.

    Attributes:
        images: N names. labels: [N, A] int8 in schema order; 0, 1 or 2.
        persons: [N], "" where the file says -1.
        partitions: per partition the positions (from 0) of its train and test images.
    """

    images: list[str]
    labels: NDArray[np.int8]
    persons: NDArray[np.str_]
    partitions: tuple[dict[str, NDArray[np.int64]], ...]


def read_rapv1(source: Path, *, split: str = "official:0", images: Path | None = None) -> Official:
    """Read RAP_annotation.mat: label, attribute_eng, imagesname, identity and the five partitions (`partion`).

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv1, or damaged.
    """
    number = official_partition(split, "RAPv1")
    schema = builtin_schema("rapv1")
    file = find_file(source, "RAP_annotation.mat", "RAPv1", ("RAP_annotation", "RAP", "RAP/RAP_annotation"))
    rap = read_mat_file(file, lambda variables: _parse(variables, schema), "Fetch RAP_annotation.mat again.")
    splits = partition_splits(rap.partitions, number, PARTS, len(rap.images), file)
    root = images or find_rap_images(file, rap.images)
    return Official(
        schema,
        root.resolve(),
        rap.images,
        splits,
        rap.persons,
        rap.labels,
        split,
        PUBLISHED,
        _warnings(rap, splits, number, schema),
        info={"labels_from": file.name},
    )


def _warnings(rap: RapMat, splits: NDArray[np.str_], number: int, schema: AttributeSchema) -> list[str]:
    train, test = (np.flatnonzero(splits == part) for part in ("train", "test"))
    warnings = []
    if len(train) != PUBLISHED["train"] or len(test) != PUBLISHED["test"]:
        warnings.append(
            f"RAPv1 has 33,268 / 8,317 images; this partition has {len(train):,} / {len(test):,}. "
            "Published figures do not compare."
        )
    shared, persons, images = shared_persons(rap.persons, train, test)
    if shared:
        warnings.append(
            f"{shared:,} of {persons:,} known persons in test, with {images:,} of {len(test):,} test images, are also in train; "
            f"{int((rap.persons == '').sum()):,} images show nobody known."
        )
    uncertain = rap.labels == UNCERTAIN
    if uncertain.any():
        names = [schema.attributes[column].name for column in np.flatnonzero(uncertain.any(axis=0))]
        warnings.append(
            f"{int(uncertain.sum()):,} labels are uncertain (value 2; {', '.join(names)}), {int(uncertain[test].sum())} of "
            "them in test. They are masked; --set data.uncertain=negative counts them as 0, as Rethinking_of_PAR does."
        )
    warnings.append(
        "There is no val split: training holds a tenth of train out, without sharing a person where these are known."
    )
    if number:
        warnings.append(f"Published rows use partition 0; this is partition {number}.")
    return [
        *warnings,
        "The five partitions overlap: never test on one what was trained on another.",
        *rare_attributes(schema, rap.labels, splits),
    ]


def _parse(variables: dict[str, Any], schema: AttributeSchema) -> RapMat:
    struct = variables["RAP_annotation"][0, 0]
    for field in ("label", "attribute_eng", "imagesname", "identity", "partion"):
        if field not in (struct.dtype.names or ()):
            raise ValueError(f"it has no field {field}; RAPv2's file is another one")
    images, names = strings(struct["imagesname"]), strings(struct["attribute_eng"])
    table = np.asarray(struct["label"])
    if table.shape != (len(images), len(names)):
        raise ValueError(
            f"its labels have shape {table.shape}, but it names {len(images):,} images and {len(names)} attributes"
        )
    missing = [attribute.name for attribute in schema.attributes if attribute.name not in names]
    if missing:
        raise ValueError(f"{len(missing)} of the known attributes are not in it, for one {missing[0]}")
    labels = table[:, [names.index(attribute.name) for attribute in schema.attributes]]
    if not np.isin(labels, (0, 1, UNCERTAIN)).all():
        raise ValueError("it holds labels other than 0, 1 and 2")
    identity = np.asarray(struct["identity"]).astype(np.int64).ravel()
    if len(identity) != len(images):
        raise ValueError(f"it has {len(identity):,} identities for {len(images):,} images")
    partitions = [entry[0, 0] for entry in np.asarray(struct["partion"]).ravel()]
    return RapMat(
        images,
        labels.astype(np.int8),
        np.array(["" if person == _UNKNOWN_PERSON else str(person) for person in identity.tolist()]),
        tuple(partition_parts(entry, [*PARTS], number, len(images)) for number, entry in enumerate(partitions)),
    )
