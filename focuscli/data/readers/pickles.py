"""Pickles of PAR repositories (Rethinking_of_PAR and its descendants): EasyDict trees of lists and NumPy arrays.

A pickle can name any function of any package and have it called. Here only the names of `_ALLOWED` are known; everything
else is refused before anything is made of it. NumPy's own classes are not among them: they believe flags from the file,
such as one that makes an array of numbers hold objects. The stand-ins below take plain types and bytes only.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.coding import MOST_UNKNOWN
from focuscli.data.contents import check_kind
from focuscli.data.readers import mat
from focuscli.data.readers.annotations import Annotations, find_image_root, reading
from focuscli.data.readers.csv import SCHEMA_COMMENT
from focuscli.data.schema import UNCERTAIN, AttributeSchema, builtin_schema, guess_schema, subset_schema
from focuscli.errors import UsageError, did_you_mean, listed
from focuscli.storage.paths import KNOWN_DATASETS, user_path

ZS_PREFIX = "zs:"
ZS_EXCLUDED = "Age46-60"  # RAP-ZS evaluates the other 53 of RAPv2
MOST_NUMBERS = 2**20  # of a range
PARTS = ("train", "val", "test")
_NOT_ONE = "its parts are not one list of positions each"


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
        divisions = _divisions(found)
        if len(divisions) > 1:
            raise ValueError(f"{_NOT_ONE}; that of official partitions is another file")
        splits, _ = _splits(divisions["0"], len(images))
        if "val" not in splits:
            raise ValueError(f"{_NOT_ONE}: val is empty")
    return splits


def read_pickle(path: Path, *, images: Path | None = None, split: str | None = None) -> Annotations:
    """Read a pickle that Rethinking_of_PAR, VTB and OpenPAR train from: image_name, label, attr_name and partition.

    If the attributes are those of a known dataset, its schema is used; else one is guessed from their names. Where
    label_idx has a list eval, those columns are evaluated, else all are.

    Args:
        images: the folder of the images; by default found beside the file.
        split: which of several partitions: its number or name. Default: the first.

    Raises:
        UsageError: no such partition.
        InputError: the file is missing, too large or damaged, names something other than arrays, lists and the like, or
            contradicts itself.
    """
    path = user_path(path)
    with reading(path, "It should be a file such as the dataset_all.pkl of Rethinking_of_PAR, VTB or OpenPAR."):
        found = load_par_pickle(path)
        names, columns = _strings(found["image_name"]), _strings(found["attr_name"])
        divisions = _divisions(found)
        chosen = split or next(iter(divisions))
        warnings = _number_repeated(columns)
        schema, comment = _schema(columns, found, path)
        if not isinstance(found["label"], Array):
            raise ValueError("its label is not an array")
        labels = mat.attribute_labels(found["label"].values, columns, schema, (0, 1, UNCERTAIN))
        twos = (labels == UNCERTAIN).mean(axis=0)
        doubtful = np.flatnonzero((twos > MOST_UNKNOWN) | ((twos > 0) & (labels != 0).all(axis=0)))
        if len(doubtful):
            name = schema.attributes[doubtful[0]].name
            raise ValueError(
                f"its {name} is 2 in {twos[doubtful[0]]:.0%} of the images, which may mean yes; want 0 and 1"
            )
        if len(labels) != len(names):
            raise ValueError(f"it has {len(labels):,} rows of labels for {len(names):,} images")
        if chosen in divisions:
            splits, said = _splits(divisions[chosen], len(names))
    if chosen not in divisions:
        raise UsageError(f'{path} has no partition "{split}".', did_you_mean(chosen, divisions))
    notes = [f"{'schema.toml is guessed from' if comment else f'schema of {schema.name} by'} the attributes' names"]
    if len(divisions) > 1:
        notes.append(f"partition {chosen} of {', '.join(divisions)}; --split chooses another")
    places = [path.resolve().parent / folder for folder in ("images", "data", ".")]
    return Annotations(
        schema,
        find_image_root(images, places, names),
        names,
        splits,
        persons=np.full(len(names), "", dtype=np.str_),
        labels=labels,
        split=f"partition {chosen}",
        warnings=warnings + said,
        notes=notes,
        comment=comment,
    )


def _number_repeated(names: list[str]) -> list[str]:
    """Number names that repeat, in place: the second gets " 2". The warning about it."""
    counts = Counter[str]()
    repeated = [name for name, count in Counter(names).items() if count > 1]
    for position, name in enumerate(names):
        counts[name] += 1
        if counts[name] > 1:
            names[position] = f"{name} {counts[name]}"
    return [f"Repeated in attr_name, and numbered: {listed(repeated)}. Check what they mean."] if repeated else []


def _schema(columns: list[str], found: Mapping[str, Any], path: Path) -> tuple[AttributeSchema, str]:
    """The schema of a pickle's attributes, and, if it is guessed from their names, a comment that says so."""
    numbers = _positions(found.get("label_idx", {}).get("eval", []), 2 * len(columns), "label_idx")
    # Files of a selection of columns may keep the numbers from before it: then all of the columns are evaluated.
    valid = 0 < len(numbers) < len(columns) and min(numbers) >= 0 and max(numbers) < len(columns)
    evaluated = {columns[number] for number in numbers} if valid else {*columns}
    for name in KNOWN_DATASETS:
        known = builtin_schema(name)
        if {*columns} <= {attribute.name for attribute in known.attributes} and evaluated | {ZS_EXCLUDED} >= {
            attribute.name for attribute in known.evaluated
        }:
            return subset_schema(known, columns, evaluated), ""
    guess = guess_schema(path.stem, columns, str(path))
    attributes = [row.model_copy(update={"evaluated": row.name in evaluated}) for row in guess.attributes]
    return guess.model_copy(update={"attributes": tuple(attributes)}), SCHEMA_COMMENT


def _divisions(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A pickle's partitions by name: part ("train", "val", "trainval", "test") -> list of positions.

    Its field partition is a dict of parts, each with one list or with one per partition ("0", "1", ...); or a dict or
    list of such dicts.
    """
    # The bare lists of positions, from which the real files are made, have other names.
    parts = found.get("partition") or {part: found[f"{part}_idx"] for part in PARTS}
    if isinstance(parts, list | tuple):
        parts = {str(number): division for number, division in enumerate(parts)}
    if all(isinstance(division, dict) for division in parts.values()):
        return {str(name): dict(division) for name, division in parts.items()}
    used = PARTS if _lists(parts.get("train", [])) else ("trainval", "val", "test")
    lists = {part: _lists(parts[part]) for part in used if part in parts or part == "test"}
    counts = {len(some) for some in (lists["test"], *filter(None, lists.values()))}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"{_NOT_ONE}, nor of the same number of lists")
    return {str(number): {part: some[number] for part, some in lists.items() if some} for number in range(*counts)}


def _lists(part: Any) -> list[Any]:
    """The lists of positions in a part: itself, unless it is a list or array of lists, or [partitions, positions]."""
    if isinstance(part, list | tuple):
        return [*part] if not part or isinstance(part[0], list | tuple | range | Array) else [part]
    nested = isinstance(part, Array) and (part.values.ndim == 2 or part.values.dtype == object)
    return [*part.values] if nested else [part]


def _positions(entry: Any, most: int, what: str) -> NDArray[np.int64]:
    """A list of at most `most` whole numbers."""
    values = entry.values if isinstance(entry, Array) else entry
    if isinstance(values, np.ndarray):
        valid = values.ndim == 1 and values.dtype.kind in "iu" and len(values) <= most
    else:
        valid = isinstance(values, list | tuple | range) and len(values) <= most
        valid = valid and all(isinstance(value, int | np.integer) for value in values)
    if not valid:
        raise ValueError(f"{_NOT_ONE}, as many as there are images: {what}")
    return np.asarray(values).astype(np.int64)


def _splits(division: Mapping[str, Any], count: int) -> tuple[NDArray[np.str_], list[str]]:
    """The split of each of `count` images, "unused" for those in no part, and a warning if val is not one.

    Raises:
        ValueError: there is no train or no test; a position is outside 0 to count - 1, or in two parts.
    """
    none = np.empty(0, np.int64)
    rows = {part: _positions(entry, count, part) for part, entry in division.items() if part in (*PARTS, "trainval")}
    test, val = rows["test"], rows.get("val", none)
    said = []
    if len(val) and np.isin(val, test).all():
        said.append("Its val is its test, on which nothing may be chosen: there is no val here.")
        val = none
    train = rows["train"] if len(rows.get("train", none)) else np.setdiff1d(rows["trainval"], val)
    if not (len(train) and len(test)):
        raise ValueError(f"{_NOT_ONE}: train or test is empty")
    every = np.concatenate([train, val, test])
    if every.min() == 1 and every.max() == count:
        raise ValueError("it counts positions from 1, as MATLAB does, and not from 0")
    if every.min() < 0 or every.max() >= count or len(np.unique(every)) != len(every):
        raise ValueError(f"it has positions outside 0 to {count - 1:,}, or one twice")
    splits = np.full(count, "unused", dtype="U6")
    for part, positions in zip(PARTS, (train, val, test), strict=True):
        splits[positions] = part
    return splits, said


def _strings(entry: Any) -> list[str]:
    """A list or array of strings."""
    strings = [
        name.decode() if isinstance(name, bytes) else name
        for name in (entry.values if isinstance(entry, Array) else entry)
    ]
    if not all(isinstance(string, str) for string in strings):
        raise ValueError("it has names that are not strings")
    return [*map(str, strings)]


def load_par_pickle(path: Path) -> Any:
    """The content of a pickle, with an `Array` in place of each NumPy array; a damaged one raises nearly any error.

    Nothing in it is run.

    Raises:
        InputError: it is a file of another kind.
    """
    check_kind(path, "pickle")
    content = path.read_bytes()
    for opcode, argument, position in pickletools.genops(content):
        # Memo numbers count up from 0; Python would reserve gigabytes for a large one.
        if "PUT" in opcode.name and isinstance(argument, int) and argument > (position or 0):
            raise ValueError("it has memo numbers larger than its length")
        if opcode.name in ("EMPTY_SET", "FROZENSET"):  # a byte each, and 216 bytes of memory
            raise ValueError("it has sets, which no file of this kind does")
    return _Unpickler(io.BytesIO(content)).load()


class _EasyDict(dict[str, Any]):
    """Stands for EasyDict, whose entries are attributes as well; the attributes repeat the entries."""

    def __setstate__(self, state: object) -> None:
        pass


def _reconstructor(kind: Any, _base: None, entries: dict[str, Any]) -> _EasyDict:
    if kind is not _EasyDict:
        raise ValueError("it has an object of an unknown class")
    return _EasyDict(entries)


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
    """Stands for numpy.ndarray, and for the function that pickles call to make an empty one."""

    def __init__(self, *_rest: object) -> None:
        self.values: NDArray[Any] = np.empty(0, dtype=object)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, by_columns, content = state
        if kind.dtype.hasobject:  # the content is a list
            self.values = np.empty(len(content), dtype=object)
            for position, value in enumerate(content):
                self.values[position] = value
        else:
            self.values = np.frombuffer(content, dtype=kind.dtype).reshape(shape, order="F" if by_columns else "C")


def _from_buffer(content: Any, kind: _DType, shape: tuple[int, ...], order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, kind, order == "F", content))
    return array


def _range(*numbers: int) -> range:
    found = range(*numbers)
    if len(found) > MOST_NUMBERS:
        raise ValueError(f"it has a range of {len(found):,} numbers")
    return found


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,  # bytes in old protocols
    ("__builtin__", "bytes"): lambda: b"",  # the same, of length 0
    ("builtins", "range"): _range,
    ("__builtin__", "xrange"): _range,  # the same in old protocols
    ("easydict", "EasyDict"): _EasyDict,
    ("collections", "OrderedDict"): _EasyDict,
    ("copy_reg", "_reconstructor"): _reconstructor,  # of EasyDict in protocols 0 and 1
    ("__builtin__", "dict"): None,  # only named
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
