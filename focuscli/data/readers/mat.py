"""MATLAB 5 files with annotations: their variables, with one kind of error for everything that can be wrong with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError

MAX_BYTES = 256 * 1024 * 1024  # the largest real one, RAPv1's, has 2 MB


@contextlib.contextmanager
def open_mat(path: Path, hint: str) -> Iterator[dict[str, Any]]:
    """The variables of a file by name; what goes wrong while they are parsed counts as an error of the file.

    Args:
        hint: what to do if it cannot be used.

    Raises:
        InputError: the file cannot be read, is too large, or the body of the `with` failed on its content.
    """
    import scipy.io

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes is too large for it")
        yield scipy.io.loadmat(str(path))
    except InputError:
        raise
    except Exception as error:  # scipy's reader raises nearly anything on a damaged file
        words = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InputError(f"{path} is not a readable {path.name}: {words}.", hint) from error


def struct_fields(variables: Mapping[str, Any], name: str, fields: Sequence[str], otherwise: str = "") -> Any:
    """The struct of that name, a record of arrays.

    Raises:
        KeyError: there is no such variable. ValueError: a field is missing; `otherwise` says what that may mean.
    """
    struct = variables[name][0, 0]
    for field in fields:
        if field not in (struct.dtype.names or ()):
            raise ValueError(f"it has no field {field}{otherwise}")
    return struct


def strings(column: Any) -> list[str]:
    """A MATLAB cell array of strings as Python's."""
    return [str(entry.item() if isinstance(entry, np.ndarray) else entry) for entry in np.asarray(column).ravel()]


def attribute_labels(
    table: Any, names: Sequence[str], schema: AttributeSchema, values: Sequence[int]
) -> NDArray[np.int8]:
    """The columns of a table [N, len(names)] in the schema's order, as int8 [N, A].

    Raises:
        ValueError: the table has another shape, lacks an attribute, or has labels other than `values`.
    """
    table = np.asarray(table)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(f"its table has shape {table.shape}, but it names {len(names)} attributes")
    missing = [attribute.name for attribute in schema.attributes if attribute.name not in names]
    if missing:
        raise ValueError(f"{len(missing)} of the known attributes are not in it, for one {missing[0]}")
    labels = table[:, [names.index(attribute.name) for attribute in schema.attributes]]
    good = np.isin(labels, values).all(axis=0)
    if not good.all():
        known = f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
        raise ValueError(f"{schema.attributes[int(np.argmin(good))].name} has labels other than {known}")
    return labels.astype(np.int8)


def partition_splits(cells: Any, parts: Mapping[str, str], count: int) -> list[NDArray[np.str_]]:
    """The split of each of `count` images in each of a file's partitions.

    Args:
        cells: one struct per partition, with a field of 1-based numbers per part, in any order; uint16 in real files.
        parts: the file's name of a part -> the split's name.

    Raises:
        ValueError: an image is in none of the parts or in two.
    """
    found = []
    for number, cell in enumerate(np.asarray(cells).ravel()):
        struct = cell[0, 0]
        # Widened before the subtraction, which would wrap around in uint16.
        positions = {part: np.asarray(struct[part]).astype(np.int64).ravel() - 1 for part in parts}
        if not np.array_equal(np.sort(np.concatenate([*positions.values()])), np.arange(count)):
            raise ValueError(f"partition {number} does not hold each of the {count:,} images once")
        splits = np.empty(count, dtype="U6")
        for part, split in parts.items():
            splits[positions[part]] = split
        found.append(splits)
    return found


def pick_partition(partitions: Sequence[NDArray[np.str_]], number: int, path: Path) -> NDArray[np.str_]:
    """One of a file's partitions.

    Raises:
        InputError: the file has no partition of that number.
    """
    if number >= len(partitions):
        raise InputError(f"{path} has {len(partitions)} partitions; official:{number} is not among them.")
    return partitions[number]
