"""Pickles of PAR repositories (Rethinking_of_PAR and its descendants): EasyDict trees of lists and NumPy arrays.

A pickle can name any function of any package and have it called. Here only the names of `_ALLOWED` are known; everything
else is refused before anything is made of it. NumPy's own classes are not among them: they believe flags from the file,
such as one that makes an array of numbers hold objects. The stand-ins below take plain types and bytes only.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.readers.annotations import reading
from focuscli.errors import UsageError
from focuscli.storage.paths import user_path

ZS_PREFIX = "zs:"
PARTS = ("train", "val", "test")


def zero_shot_file(split: str) -> Path:
    """The file that "zs:FILE" names.

    Raises:
        UsageError: none is named.
    """
    name = split.removeprefix(ZS_PREFIX).strip()
    if not name:
        raise UsageError(f'Split "{split}" names no file.', f"Example: --split {ZS_PREFIX}dataset_zs_run0.pkl")
    return user_path(name)


def read_zero_shot_splits(path: Path, images: Sequence[str]) -> NDArray[np.str_]:
    """The split of each image in PETA-ZS or RAP-ZS; "unused" for those that the file does not name.

    These identity-disjoint splits exist only in such pickles. The reader follows the program that makes them; it was
    never run on a real one.

    Args:
        images: N names in the order of the official annotation; if the file lists names too, they must be these.

    Raises:
        InputError: the file is missing, too large or damaged; it names something other than arrays, lists and the like;
            the splits are missing, overlap, or belong to other images.
    """
    with reading(path, "It should be a pickle made by Rethinking_of_PAR (valencebond), such as dataset_zs_run0.pkl."):
        found = load_par_pickle(path)
        names = found.get("image_name")
        if names is not None and [*map(str, names)] != [*images]:
            raise ValueError(f"its images are not these {len(images):,}")
        # The bare lists of positions, from which the real files are made, have other names.
        parts = found.get("partition") or {part: found[f"{part}_idx"] for part in PARTS}
        rows = [np.asarray(getattr(parts[part], "values", parts[part])) for part in PARTS]
        every = np.concatenate(rows)
        if every.ndim != 1 or every.dtype.kind not in "iu" or not all(map(len, rows)):
            raise ValueError(
                "its parts are not one list of positions each; that of official partitions is another file"
            )
        if every.min() < 0 or every.max() >= len(images) or len(np.unique(every)) != len(every):
            raise ValueError(f"it has positions outside 0 to {len(images) - 1:,}, or one twice")
    splits = np.full(len(images), "unused", dtype="U6")
    for part, positions in zip(PARTS, rows, strict=True):
        splits[positions] = part
    return splits


def load_par_pickle(path: Path) -> Any:
    """What a pickle contains, with an `Array` in place of each NumPy array; nearly any error is raised on a damaged one.

    Nothing in it is run.
    """
    with open(path, "rb") as content:
        return _Unpickler(content).load()


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


class Array:
    """Stands for numpy.ndarray, and for the function that pickles call to make an empty one. Objects are not kept."""

    def __init__(self, *_rest: object) -> None:
        self.values: NDArray[Any] = np.empty(0, dtype=object)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, by_columns, content = state
        if not kind.dtype.hasobject:
            self.values = np.frombuffer(content, dtype=kind.dtype).reshape(shape, order="F" if by_columns else "C")


def _from_buffer(content: Any, kind: _DType, shape: tuple[int, ...], order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, kind, order == "F", content))
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,  # bytes in old protocols
    ("__builtin__", "bytes"): lambda: b"",  # the same, of length 0
    ("builtins", "range"): range,
    ("__builtin__", "xrange"): range,  # the same in old protocols
    ("easydict", "EasyDict"): _EasyDict,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = lambda kind, content: np.frombuffer(content, dtype=kind.dtype)[0]
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer  # protocol 5


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ValueError(f"it wants to use {module}.{name}, which no file of this kind does")
        return _ALLOWED[module, name]
