"""The identity-disjoint splits PETA-ZS and RAP-ZS, which exist only in pickles of Rethinking_of_PAR (dataset_zs_run0.pkl).

Reading a pickle can run any program that its author put there. Here it cannot: names are looked up in a short list, and
what the list does not have is refused before anything is made of it.

Written from the program that makes those files; never run on a real one, for none could be had.
"""

from __future__ import annotations

import codecs
import io
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError, UsageError

ZS_PREFIX = "zs:"
PARTS = ("train", "val", "test")
MAX_BYTES = 512 * 1024 * 1024  # labels of 84,928 images and their names take some 20 MB
_HINT = "It should be dataset_zs_run0.pkl, as made by Rethinking_of_PAR (valencebond) for PETA or RAP2."


class _Bag(dict[str, Any]):
    """Stands for EasyDict, a dictionary whose entries are attributes as well; the attributes are of no use here."""

    def __setstate__(self, state: object) -> None:
        pass


class _Type:
    """Stands for numpy.dtype, of which only the code ("i8") and the byte order are believed: NumPy's own takes any flag from
    a file, such as one that makes an array of numbers hold objects."""

    def __init__(self, code: str, *_rest: object) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray; `np.asarray` makes one of it."""

    def __init__(self, *_rest: object) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, by_columns, content = state
        self._fill(content, kind, shape, "F" if by_columns else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.values if dtype is None else self.values.astype(dtype)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def _fill(self, content: Any, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"]) -> None:
        if kind.dtype.hasobject:
            flat = np.empty(len(content), dtype=object)
            flat[:] = content
        else:
            flat = np.frombuffer(content, dtype=kind.dtype)
        self.values = flat.reshape(shape, order=order)

    @classmethod
    def of_buffer(cls, content: Any, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
        """As protocol 5 writes arrays."""
        made = cls()
        made._fill(content, kind, shape, order)
        return made


def _scalar(kind: _Type, content: Any) -> Any:
    return np.frombuffer(content, dtype=kind.dtype)[0]


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_KNOWN: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _Array for module in _NUMPY[:2]},
    **{(module, "scalar"): _scalar for module in _NUMPY[:2]},
    **{(module, "_frombuffer"): _Array.of_buffer for module in _NUMPY[2:]},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): codecs.encode,  # bytes, as old protocols write them
    ("builtins", "range"): range,
    ("__builtin__", "xrange"): range,  # the same in old protocols
    ("easydict", "EasyDict"): _Bag,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise ValueError(f"it wants to use {module}.{name}, which no file of this kind does")
        return _KNOWN[module, name]


def identity_file(split: str) -> Path:
    """The file that "zs:FILE" names.

    Raises:
        UsageError: none is named.
    """
    name = split.removeprefix(ZS_PREFIX).strip()
    if not name:
        raise UsageError(f'Split "{split}" names no file.', f"Example: --split {ZS_PREFIX}dataset_zs_run0.pkl")
    return Path(name).expanduser()


def read_identity_splits(path: Path, images: Sequence[str]) -> NDArray[np.str_]:
    """The split of each image, "unused" for those that the file does not name.

    Args:
        images: N names in the order of the official annotation; where the file lists names too, they must be these.

    Raises:
        InputError: not there, not such a file, or not about these images.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", _HINT) from error
    if content is None:
        raise InputError(f"{path} is too large for a file of splits.", _HINT)
    try:
        found = _Reader(io.BytesIO(content)).load()
        return _splits(found, images)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} holds no usable splits: {error or type(error).__name__}.", _HINT) from error


def _splits(found: Any, images: Sequence[str]) -> NDArray[np.str_]:
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not a dataset")
    names = found.get("image_name")
    if names is not None and [*map(str, names)] != [*images]:
        raise ValueError(f"it is about {len(names):,} images, which are not these {len(images):,}")
    partition = found.get("partition")
    # The lists of positions alone, from which the real files are made, have other names.
    parts = partition if isinstance(partition, dict) else {part: found.get(f"{part}_idx") for part in PARTS}
    splits = np.full(len(images), "unused", dtype="U6")
    for part in PARTS:
        positions = np.asarray(parts.get(part))
        if positions.ndim == 2 or positions.dtype == object:
            raise ValueError(f"its {part} part is none, or several; the file of official partitions is another one")
        if positions.ndim != 1 or not len(positions) or positions.dtype.kind not in "iu":
            raise ValueError(f"its {part} part is no list of positions")
        positions = positions.astype(np.int64)
        if positions.min() < 0 or positions.max() >= len(images):
            raise ValueError(f"its {part} part has positions outside 0 to {len(images) - 1:,}")
        if len(np.unique(positions)) != len(positions) or (splits[positions] != "unused").any():
            raise ValueError(f"its {part} part has an image twice, or one of another part")
        splits[positions] = part
    return splits
