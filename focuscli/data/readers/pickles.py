"""Pickles of PAR repositories (Rethinking_of_PAR and its descendants): EasyDict trees of lists and NumPy arrays.

A pickle can name any function of any package and have it called. Here only the names of `_ALLOWED` are known; everything
else is refused before anything is made of it. NumPy's own classes are not among them: they believe flags from the file,
such as one that makes an array of numbers hold objects. The stand-ins below take plain types and bytes only.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError, UsageError

ZS_PREFIX = "zs:"
PARTS = ("train", "val", "test")
MAX_BYTES = 512 * 1024 * 1024  # the labels and names of 84,928 images take some 20 MB
_HINT = "It should be a pickle made by Rethinking_of_PAR (valencebond), such as dataset_zs_run0.pkl."


def read_par_pickle(path: Path) -> Any:
    """What a pickle contains, as dicts, lists, numbers, strings and NumPy arrays. Nothing in it is run.

    Raises:
        InputError: the file is missing, too large, damaged, or names something other than these types.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", _HINT) from error
    if content is None:
        raise InputError(f"{path} is too large ({path.stat().st_size:,} bytes).", _HINT)
    try:
        return _plain(_Unpickler(io.BytesIO(content)).load(), {})
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} is not a usable pickle: {error or type(error).__name__}.", _HINT) from error


def zero_shot_file(split: str) -> Path:
    """The file that "zs:FILE" names.

    Raises:
        UsageError: none is named.
    """
    name = split.removeprefix(ZS_PREFIX).strip()
    if not name:
        raise UsageError(f'Split "{split}" names no file.', f"Example: --split {ZS_PREFIX}dataset_zs_run0.pkl")
    return Path(name).expanduser()


def read_zero_shot_splits(path: Path, images: Sequence[str]) -> NDArray[np.str_]:
    """The split of each image in PETA-ZS or RAP-ZS; "unused" for those that the file does not name.

    These identity-disjoint splits exist only in such pickles. The reader follows the program that makes them; it was
    never run on a real one.

    Args:
        images: N names in the order of the official annotation; if the file lists names too, they must be these.

    Raises:
        InputError: see `read_par_pickle`; the splits are missing, overlap, or belong to other images.
    """
    found = read_par_pickle(path)
    try:
        return _splits(found, images)
    except Exception as error:  # lists of anything where positions should be
        raise InputError(f"{path} has no usable splits: {error or type(error).__name__}.", _HINT) from error


def _splits(found: Any, images: Sequence[str]) -> NDArray[np.str_]:
    if not isinstance(found, dict):
        raise ValueError(f"it contains a {type(found).__name__}, not a dataset")
    names = found.get("image_name")
    if names is not None and (not isinstance(names, list) or [*map(str, names)] != [*images]):
        raise ValueError(f"its images are not these {len(images):,}")
    partition = found.get("partition")
    # The bare lists of positions, from which the real files are made, have other names.
    parts = partition if isinstance(partition, dict) else {part: found.get(f"{part}_idx") for part in PARTS}
    splits = np.full(len(images), "unused", dtype="U6")
    for part in PARTS:
        try:
            positions = np.asarray(parts.get(part))
        except ValueError:  # several lists of different lengths
            positions = np.empty((0, 0))
        if positions.ndim == 2 or positions.dtype == object:
            raise ValueError(f"its {part} part is missing, or several; the file of official partitions is another one")
        if positions.ndim != 1 or not len(positions) or positions.dtype.kind not in "iu":
            raise ValueError(f"its {part} part is not a list of positions")
        positions = positions.astype(np.int64)
        if positions.min() < 0 or positions.max() >= len(images):
            raise ValueError(f"its {part} part has positions outside 0 to {len(images) - 1:,}")
        if len(np.unique(positions)) != len(positions) or (splits[positions] != "unused").any():
            raise ValueError(f"its {part} part has an image twice, or one of another part")
        splits[positions] = part
    return splits


class _EasyDict(dict[str, Any]):
    """Stands for EasyDict, whose entries are attributes as well; the attributes repeat the entries."""

    def __setstate__(self, state: object) -> None:
        pass


class _DType:
    """Stands for numpy.dtype: a code such as "i8" or "U15", and the byte order."""

    def __init__(self, code: str, *_rest: object) -> None:
        if not re.fullmatch(r"[biufUSO][0-9]+", code):
            raise ValueError(f"it has an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray, and for the function that pickles call to make an empty one."""

    def __init__(self, *_rest: object) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, by_columns, content = state
        self.fill(content, kind, shape, "F" if by_columns else "C")

    def fill(self, content: Any, kind: _DType, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
        if kind.dtype.hasobject:
            flat = np.empty(len(content), dtype=object)
            flat[:] = content
        else:
            flat = np.frombuffer(content, dtype=kind.dtype)
        self.values = flat.reshape(shape, order=order)
        return self


def _from_buffer(*arguments: Any) -> _Array:
    return _Array().fill(*arguments)


def _scalar(kind: _DType, content: Any) -> Any:
    return np.frombuffer(content, dtype=kind.dtype)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,  # bytes in old protocols
    ("__builtin__", "bytes"): lambda: b"",  # the same, of length 0
    ("builtins", "range"): range,
    ("__builtin__", "xrange"): range,  # the same in old protocols
    ("easydict", "EasyDict"): _EasyDict,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer  # protocol 5


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ValueError(f"it wants to use {module}.{name}, which no file of this kind does")
        return _ALLOWED[module, name]


def _plain(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """`value` with arrays in place of their stand-ins.

    Args:
        done: id -> (object, what became of it), so that nothing is converted twice and no id is reused.
    """
    if id(value) in done:
        return done[id(value)][1]
    if isinstance(value, _Array) and value.values.dtype != object:
        return value.values
    if isinstance(value, dict):
        entries: dict[Any, Any] = {}
        done[id(value)] = value, entries
        entries.update((key, _plain(entry, done)) for key, entry in value.items())
        return entries
    if isinstance(value, _Array | list | tuple):
        items: list[Any] = []
        done[id(value)] = value, items
        items.extend(_plain(entry, done) for entry in (value.values.tolist() if isinstance(value, _Array) else value))
        return items
    return value
