"""MATLAB 5 files with annotations: variables, labels by name, and partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import AttributeSchema


def variables(path: Path) -> dict[str, Any]:
    """A file's variables by name; nearly any error is raised on a damaged one."""
    import scipy.io

    found: dict[str, Any] = scipy.io.loadmat(str(path))
    return found


def strings(column: Any) -> list[str]:
    """A MATLAB cell array of strings as Python's."""
    return [str(entry.item() if isinstance(entry, np.ndarray) else entry) for entry in np.asarray(column).ravel()]


def attribute_labels(table: Any, names: list[str], schema: AttributeSchema, values: Sequence[int]) -> NDArray[np.int8]:
    """The columns of a table [N, len(names)] in the schema's order, as int8 [N, A].

    Raises:
        ValueError: the table has another shape, lacks an attribute, or has labels other than `values`.
    """
    table = np.asarray(table)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(f"its table has shape {table.shape}, but it names {len(names)} attributes")
    columns = {name: number for number, name in enumerate(names)}
    missing = [attribute.name for attribute in schema.attributes if attribute.name not in columns]
    if missing:
        raise ValueError(f"{len(missing)} of the known attributes are not in it, for one {missing[0]}")
    labels = table[:, [columns[attribute.name] for attribute in schema.attributes]]
    if not np.isin(labels, values).all():
        raise ValueError(f"it has labels other than {', '.join(map(str, values))}")
    return labels.astype(np.int8)


def partition_splits(cells: Any, number: int, parts: Mapping[str, str], count: int) -> NDArray[np.str_]:
    """The split of each of `count` images in one of a file's partitions.

    Args:
        cells: one struct per partition, with a field of 1-based numbers per part, in any order; uint16 in real files.
        parts: the file's name of a part -> the split's name.

    Raises:
        ValueError: there is no such partition, or an image is in none of its parts or in two.
    """
    partitions = np.asarray(cells).ravel()
    if number >= len(partitions):
        raise ValueError(f"it has {len(partitions)} partitions; official:{number} is not among them")
    struct = partitions[number][0, 0]
    # Widened before the subtraction, which would wrap around in uint16.
    positions = {part: np.asarray(struct[part]).astype(np.int64).ravel() - 1 for part in parts}
    if not np.array_equal(np.sort(np.concatenate([*positions.values()])), np.arange(count)):
        raise ValueError(f"partition {number} does not hold each of the {count:,} images once")
    splits = np.empty(count, dtype="U6")
    for part, split in parts.items():
        splits[positions[part]] = split
    return splits
