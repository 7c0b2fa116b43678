"""PETA.mat: the labels, persons and five random partitions that papers on pedestrian attributes use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.readers.mat import partition_parts, read_mat_file
from focuscli.data.schema import AttributeSchema

_LABEL_COLUMN = 4  # before it: image number, global person, subset, person inside the subset
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class PetaMat:
    """The content of PETA.mat for N images.

    Attributes:
        labels: [N, A] int8, 0 or 1, in the order of the given schema.
        persons: [N] a number per person of the whole data set.
        subsets: [N] 1 to 10. numbers: [N] the person's number inside its subset.
        evaluated: names of the attributes that the file itself marks as evaluated, in its order.
        partitions: per partition the positions (from 0) of its train, val and test images.
    """

    labels: NDArray[np.int8]
    persons: NDArray[np.int64]
    subsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    evaluated: tuple[str, ...]
    partitions: tuple[dict[str, NDArray[np.int64]], ...]


def read_mat(path: Path, schema: AttributeSchema) -> PetaMat:
    """Read PETA.mat, a MATLAB 5 file with the struct `peta`: data, attribute, selected_attribute, partion_attribute.

    Raises:
        InputError: it cannot be read or is not what the schema and the format say.
    """
    hint = "Fetch the file again; the real one has 343,449 bytes."
    return read_mat_file(path, lambda variables: _parse(variables["peta"][0, 0], schema), hint)


def _parse(struct: Any, schema: AttributeSchema) -> PetaMat:
    # The table is uint16: widen it before any subtraction.
    data = np.asarray(struct["data"]).astype(np.int64)
    names = [str(entry[0][0]) for entry in struct["attribute"]]
    count = len(data)
    if data.ndim != 2 or data.shape[1] != _LABEL_COLUMN + len(names):
        raise ValueError(f"its table has shape {data.shape}, but it names {len(names)} attributes")
    if not np.array_equal(data[:, 0], np.arange(1, count + 1)):
        raise ValueError(f"its first column does not count from 1 to {count}")
    missing = [attribute.name for attribute in schema.attributes if attribute.name not in names]
    if missing:
        raise ValueError(f"{len(missing)} of the known attributes are not in it, for one {missing[0]}")
    labels = data[:, [_LABEL_COLUMN + names.index(attribute.name) for attribute in schema.attributes]]
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("it holds labels other than 0 and 1")
    if not np.isin(data[:, 2], np.arange(1, 11)).all():
        raise ValueError("it holds subset numbers other than 1 to 10")
    # selected_attribute holds column numbers of the table, from 1, and not numbers of attributes.
    selected = np.asarray(struct["selected_attribute"]).astype(np.int64).ravel() - 1 - _LABEL_COLUMN
    return PetaMat(
        labels=labels.astype(np.int8),
        persons=data[:, 1],
        subsets=data[:, 2],
        numbers=data[:, 3],
        evaluated=tuple(names[number] for number in selected),
        partitions=tuple(
            partition_parts(entry[0][0][0], PARTS, number, count)
            for number, entry in enumerate(struct["partion_attribute"])
        ),
    )
