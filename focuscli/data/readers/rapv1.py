"""RAPv1's official files: RAP_annotation.mat and the images of RAP_dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import (
    PARTITIONS_OVERLAP,
    Annotations,
    find_file,
    find_rap_images,
    official_partition,
    other_counts,
    rare_attributes,
    uncertain_columns,
)
from focuscli.data.schema import UNCERTAIN, AttributeSchema, builtin_schema
from focuscli.data.splits import shared_persons

PARTS = {"train_index": "train", "test_index": "test"}
PUBLISHED = {"train": 33_268, "test": 8_317}
_UNKNOWN_PERSON = -1


def read_rapv1(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read RAP_annotation.mat: label, attribute_eng, imagesname, identity and the five partitions (`partion`).

    Args:
        source: the folder with RAP_annotation/ and RAP_dataset/, or the one of the .mat, or the file.
        images: the folder of the images; by default found beside.

    Raises:
        UsageError: no such split. InputError: not RAPv1, or damaged.
    """
    number = official_partition(split, "official:0 to official:4")
    schema = builtin_schema("rapv1")
    file = find_file(source, "RAP_annotation.mat", "RAPv1", ("RAP_annotation", "RAP", "RAP/RAP_annotation"))
    with mat.open_mat(file, "Fetch RAP_annotation.mat again.") as variables:
        fields = ("label", "attribute_eng", "imagesname", "identity", "partion")
        struct = mat.struct_fields(variables, "RAP_annotation", fields, "; RAPv2's file is another one")
        names = mat.strings(struct["imagesname"])
        labels = mat.attribute_labels(struct["label"], mat.strings(struct["attribute_eng"]), schema, (0, 1, UNCERTAIN))
        identity = np.asarray(struct["identity"]).astype(np.int64).ravel()
        if not len(names) == len(labels) == len(identity):
            raise ValueError(
                f"it has {len(labels):,} rows of labels and {len(identity):,} identities for {len(names):,} images"
            )
        splits = mat.pick_partition(mat.partition_splits(struct["partion"], PARTS, len(names)), number, file)
    persons = np.array(["" if person == _UNKNOWN_PERSON else str(person) for person in identity.tolist()])
    root = images or find_rap_images(file, names)
    return Annotations(
        schema,
        root.resolve(),
        names,
        splits,
        persons,
        labels,
        split,
        PUBLISHED,
        warnings=_warnings(schema, labels, splits, persons, number),
        info={"labels_from": file.name},
    )


def _warnings(
    schema: AttributeSchema, labels: NDArray[np.int8], splits: NDArray[np.str_], persons: NDArray[np.str_], number: int
) -> list[str]:
    train, test = (np.flatnonzero(splits == part) for part in ("train", "test"))
    warnings = other_counts("RAPv1", splits, PUBLISHED)
    shared, known, images = shared_persons(persons, train, test)
    if shared:
        warnings.append(
            f"{shared:,} of {known:,} known persons in test, with {images:,} of {len(test):,} test images, are also in "
            f"train; {int((persons == '').sum()):,} images show no known person."
        )
    if names := uncertain_columns(schema, labels):
        warnings.append(
            f"{int((labels == UNCERTAIN).sum()):,} labels are uncertain (value 2; {', '.join(names)}), "
            f"{int((labels[test] == UNCERTAIN).sum())} of them in test. They are masked; --set data.uncertain=negative "
            "counts them as 0, as Rethinking_of_PAR does."
        )
    warnings.append(
        "There is no val split: training holds out 10% of train as val, without sharing a person where these are known."
    )
    if number:
        warnings.append(f"Published rows use partition 0; this is partition {number}.")
    return [*warnings, PARTITIONS_OVERLAP, *rare_attributes(schema, labels, splits)]
