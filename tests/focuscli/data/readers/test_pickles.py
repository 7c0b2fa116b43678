"""Splits from pickles: read without running anything that the file brings along."""

from __future__ import annotations

import codecs
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from focuscli.data.readers.peta import read_peta
from focuscli.data.readers.pickles import load_par_pickle, read_pickle, read_zero_shot_splits
from focuscli.data.readers.rap import read_rapv2
from focuscli.data.schema import builtin_schema
from focuscli.errors import FocusError, InputError

IMAGES = [f"{number:05}.png" for number in range(1, 11)]
PARTS = {"train": [0, 3, 9], "val": [1], "test": [4, 2]}


class EasyDict(dict[str, Any]):
    """As the package of that name: entries are attributes as well, so that a pickle holds them twice."""

    __module__ = "easydict"

    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.__dict__.update(entries)


def write(path: Path, protocol: int = 4, **changes: Any) -> Path:
    """A file with the fields that the program which makes them writes, see Rethinking_of_PAR's format_peta.py."""
    parts = changes.pop("parts", PARTS)
    content = {
        "description": "peta",
        "image_name": [*map(np.str_, IMAGES)],
        "label": np.asfortranarray(np.arange(20, dtype=">u2").reshape(10, 2)),
        "label_idx": EasyDict(eval=[10, 18], extra=range(79, 105), none=np.array([b"", None], object)),
        "weight_train": [np.zeros(105, np.float32)],
        "partition": EasyDict(**{part: np.array(rows) for part, rows in parts.items()}, trainval=np.array([0, 1])),
        **changes,
    }
    module = ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules["easydict"] = module  # the name in the file; the reader does without the package
    path.write_bytes(pickle.dumps(EasyDict(**content), protocol))
    del sys.modules["easydict"]
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_the_parts_become_splits(tmp_path: Path, protocol: int) -> None:
    file = write(tmp_path / "zs.pkl", protocol)
    splits = read_zero_shot_splits(file, IMAGES)
    for part, rows in PARTS.items():
        assert np.flatnonzero(splits == part).tolist() == sorted(rows)
    assert (splits == "unused").sum() == 4
    assert np.array_equal(load_par_pickle(file)["label"].values, np.arange(20).reshape(10, 2))
    file.write_bytes(pickle.dumps(OrderedDict({f"{part}_idx": rows for part, rows in PARTS.items()}), protocol))
    assert read_zero_shot_splits(file, IMAGES).tolist() == splits.tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_name": IMAGES[:9]}, "its images are not these 10"),
        ({"parts": {**PARTS, "test": [0, 4]}}, "outside 0 to 9, or one twice"),
        ({"parts": {"train": [0], "val": [1]}}, "it has no 'test'"),
        ({"parts": {part: [[0, 3], [5, 6]] for part in PARTS}}, "that of official partitions is another file"),
        ({"partition": None}, "it has no 'train_idx'"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_zero_shot_splits(write(tmp_path / "zs.pkl", **changes), IMAGES)


class Hostile:
    """What runs a program when a careless reader loads it."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


REFUSED = {
    "a command": Hostile(os.mkdir, "victim"),
    "deep inside": {"partition": {"train": np.array([Hostile(os.mkdir, "victim")], object)}},
    "eval": Hostile(eval, "__import__('os').mkdir('victim')"),
    "getattr": Hostile(getattr, IMAGES, "sort"),
    "a library": Hostile(np.ctypeslib.load_library, "x", "."),
    "a structured type": Hostile(np.dtype, "i8,V9"),
    "another codec": Hostile(codecs.encode, "x", "zlib"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_in_the_file_is_run(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "zs.pkl"
    file.write_bytes(pickle.dumps(REFUSED[name]))
    with pytest.raises(InputError, match=r"it wants to use|it has an array of type|in the encoding"):
        read_zero_shot_splits(file, IMAGES)
    assert not (tmp_path / "victim").exists()


def test_peta_and_rapv2_take_their_splits_from_the_file(download: Callable[[str], Path], tmp_path: Path) -> None:
    rows = {"train": [*range(20)], "val": [20, 21], "test": [*range(22, 30)]}
    names = [f"{number:05}.png" for number in range(1, 31)]
    found = read_peta(download("peta"), split=f"zs:{write(tmp_path / 'zs.pkl', parts=rows, image_name=names)}")
    assert found.published == {"train": 11_241, "val": 3_826, "test": 3_933}
    assert {part: np.flatnonzero(found.splits == part).tolist() for part in rows} == rows
    assert any("never checked on a real one" in warning for warning in found.warnings)
    found = read_rapv2(download("rapv2"), split=f"zs:{write(tmp_path / 'zs.pkl', image_name=None)}")
    assert len(found.schema.evaluated) == 53
    assert not found.schema.attributes[found.schema.index("Age46-60")].evaluated
    assert np.flatnonzero(found.splits == "test").tolist() == sorted(PARTS["test"])
    assert found.published == {"train": 17_062, "val": 4_628, "test": 4_928}
    assert not any("should be evaluated" in warning for warning in found.warnings)


def splits_of(file: Path, split: str | None = None) -> str:
    """The first letters of the images' splits."""
    return "".join(part[1] for part in read_pickle(file, split=split).splits.tolist())


def test_a_pickle_becomes_a_dataset(tmp_path: Path) -> None:
    label = np.array([[number % 2, number == 3, 2 * (number == 4)] for number in range(10)], np.uint16)
    changes = {
        "label": label,
        "attr_name": np.array(["hat", "Backpack", "hat"], object),
        "label_idx": EasyDict(eval=[1, 0]),
    }
    found = read_pickle(write(tmp_path / "dataset_all.pkl", **changes))
    assert [(row.name, row.region, row.evaluated) for row in found.schema.attributes] == [
        ("hat", "head", True),
        ("Backpack", "bag", True),
        ("hat 2", "head", False),
    ]
    assert "numbered: hat" in found.warnings[0]
    assert np.array_equal(found.labels, label)
    assert (found.images, found.split, found.root) == (IMAGES, "partition 0", tmp_path / "images")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / IMAGES[0]).touch()
    assert read_pickle(tmp_path / "dataset_all.pkl").root == tmp_path / "data"


@pytest.mark.parametrize("name", ["peta", "pa100k", "rapv1", "rapv2"])
def test_attributes_of_a_known_dataset_have_its_schema(tmp_path: Path, name: str) -> None:
    schema = builtin_schema(name)
    names = [attribute.name for attribute in schema.evaluated][::-1]
    label = np.random.default_rng(0).integers(0, 2, (10, len(names)))
    file = write(tmp_path / "a.pkl", attr_name=[*map(np.str_, names)], label=label, label_idx=EasyDict(eval=[99] * 3))
    found = read_pickle(file)
    assert found.schema.evaluated == schema.evaluated
    assert np.array_equal(found.labels, label[:, ::-1])
    assert any(f"schema of {name}" in note for note in found.notes)


def objects(*entries: Any) -> Any:
    """An array of objects."""
    array = np.empty(len(entries), object)
    array[:] = entries
    return array


PARTITIONS: list[tuple[Any, str | None, str]] = [
    ({"train": np.array([0, 1]), "val": [2], "test": (3,)}, None, "rraennnnnn"),
    ({"train": [], "trainval": [[0, 1, 2]], "test": [[3]]}, None, "rrrennnnnn"),
    ({"train": [], "val": [2], "trainval": [0, 1, 2], "test": [3]}, None, "rraennnnnn"),
    ({"train": [[0], [1]], "val": [[1], [2]], "test": [[2], [3]]}, None, "raennnnnnn"),
    ({"train": [[0], [1]], "val": [[1], [2]], "test": [[2], [3]]}, "1", "nraennnnnn"),
    ({"train": np.array([[0], [1]]), "test": np.array([[2], [3]])}, "1", "nrnennnnnn"),
    ({"train": objects([0], [1, 2]), "test": objects(np.array([2]), np.array([3]))}, "1", "nrrennnnnn"),
    ([{"train": [0], "test": [1]}, {"train": [1], "test": [0]}], "1", "ernnnnnnnn"),
    ({"zs": {"train": [0], "test": [1]}, "random": {"train": [1], "test": [0]}}, "random", "ernnnnnnnn"),
    ({"train": [0], "val": [1, 2], "test": [2, 1]}, None, "reennnnnnn"),
]


@pytest.mark.parametrize(("partition", "split", "letters"), PARTITIONS)
def test_partitions(tmp_path: Path, partition: Any, split: str | None, letters: str) -> None:
    names = [name.encode() for name in IMAGES]  # as some files have them
    changes = {"attr_name": ["hat", "bag"], "label": np.zeros((10, 2), int), "image_name": names}
    file = write(tmp_path / "a.pkl", **changes, partition=partition)
    assert splits_of(file, split) == letters
    found = read_pickle(file)
    assert ("--split" in " ".join(found.notes)) == (split is not None or letters == "raennnnnnn")
    assert ("Its val is its test" in " ".join(found.warnings)) == letters.startswith("ree")


HUGE = [0] * 10
for _ in range(8):
    HUGE = [HUGE] * 10  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": np.full((10, 2), 3)}, "labels other than 0, 1, 2"),
        ({"label": np.full((10, 2), 1) + np.eye(10, 2, dtype=int)}, "is 2 in 10% of the images, which may mean yes"),
        ({"partition": {"train": [1, 2], "test": [*range(3, 11)]}}, "counts positions from 1"),
        ({"label": np.zeros((9, 2))}, "9 rows of labels for 10 images"),
        ({"label": np.zeros((10, 3))}, "it names 2 attributes"),
        ({"label": [[0, 1]] * 10}, "not an array"),
        ({"attr_name": [1, 2]}, "not strings"),
        ({"image_name": None}, "not a usable"),
        ({"partition": {"train": range(10**6), "test": [1]}}, "as many as there are images: train"),
        ({"partition": {"train": [0], "test": [HUGE]}}, "as many as there are images: test"),
        ({"partition": {"train": [0], "test": []}}, "not one list of positions each"),
        *(({"partition": {"train": [0], "test": [row]}}, "outside 0 to 9, or one twice") for row in (0, 10, -1)),
        ({"partition": {"train": [0], "test": [0.5]}}, "not one list of positions each"),
        ({"partition": 3}, "is not a usable"),
        ({"partition": {"train": [[0], [1]], "test": [[1]]}}, "nor of the same number of lists"),
        ({"label_idx": EasyDict(eval=range(10**6))}, "label_idx"),
        ({"image_name": objects([1], [2])}, "not strings"),
        ({"split": "2"}, 'has no partition "2"'),
    ],
)
def test_pickles_that_contradict_themselves_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    split = changes.pop("split", None)
    content = {"attr_name": ["hat", "bag"], "label": np.zeros((10, 2), int), **changes}
    with pytest.raises(FocusError, match=words):
        read_pickle(write(tmp_path / "a.pkl", **content), split=split)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x0f.", "memo numbers"),
        (pickle.dumps({"image_name": range(10**9)}), "range of 1,000,000,000 numbers"),
        (b"\x80\x04(" + b"\x8f" * 10**5 + b"l.", "sets"),
        (b"(" * 10**6 + b"t" * 10**6 + b".", "usable"),
        (b"]" + b"2l" * 10**5, "usable"),
    ],
)
def test_a_few_bytes_that_ask_for_gigabytes_are_refused(tmp_path, content, words):
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_pickle(file)
