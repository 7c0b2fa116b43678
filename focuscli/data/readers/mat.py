"""MATLAB 5 files with annotations: variables, labels by name, and partitions."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.contents import check_kind
from focuscli.data.schema import AttributeSchema

MEMORY = 700 * 2**20  # bytes; the largest real file takes some 200 MB
SECONDS = 20


def variables(path: Path) -> dict[str, Any]:
    """A file's variables by name, as `scipy.io.loadmat` gives them. It is read in another process, with limits.

    Raises:
        InputError: it is a file of another kind. ValueError: it is damaged, or takes too much time or memory.
    """
    check_kind(path, "mat")
    return {name: _array(*value) for name, value in _Values(io.BytesIO(_read(path))).load().items()}


def _read(path: Path) -> bytes:
    """The output of `loadmat` for a file."""
    program = Path(__file__).with_name("loadmat.py")
    command = [sys.executable, "-P", str(program), str(path.absolute()), str(MEMORY), str(SECONDS)]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=6 * SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError("reading it does not come to an end") from error
    if done.returncode == 1:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError(lines[-1] if lines else "it cannot be read")
    if done.returncode:
        raise ValueError("it is damaged: MATLAB's format is broken in it, or it takes too much time")
    return done.stdout


class _Values(pickle.Unpickler):
    """Of plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it became an object of {module}.{name}")


def _array(kind: str, shape: tuple[int, ...], content: Any) -> NDArray[Any]:
    """Undo `loadmat.plain`."""
    if kind == "V":
        fields = {name: _array(*value) for name, value in content.items()}
        struct = np.empty(shape, dtype=[(name, object) for name in fields])
        for name, value in fields.items():
            struct[name] = value
        return struct
    if kind == "O":
        cells = np.empty(len(content), dtype=object)
        for position, cell in enumerate(content):
            cells[position] = _array(*cell)
        return cells.reshape(shape)
    return np.frombuffer(content, dtype=kind).reshape(shape)


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
        raise ValueError(f"{len(missing)} of the known attributes are not in it, such as {missing[0]}")
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
