"""Market-1501: codes become labels, persons become rows, and what is of no known person is left out and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.prepare import prepare
from focuscli.data.readers.market1501 import read_market1501
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

BINARY = [row.name for row in builtin_schema("market1501").attributes if row.group != "age"]
PERSONS = {"train": ["0002", "0007"], "test": ["0001", "0003", "0004"]}
IMAGES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0007_c3s3_028459_02.jpg", "0002_c1s1_000551_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg"],
    "bounding_box_test": [
        *["-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0000_c2s1_000151_01.jpg", "0003_c6s1_000151_01.jpg"],
        *["0999_c6s1_000151_01.jpg", "Thumbs.db"],
    ],
}


def save_mat(path: Path, **changes: Any) -> Path:
    """The file of five persons: everyone is "adult", the fields of train are in another order, 2 means yes."""
    struct: dict[str, Any] = {}
    for part, persons in PERSONS.items():
        fields = {name: np.ones((1, len(persons)), np.uint8) for name in sorted(BINARY, reverse=part == "train")}
        fields["age"] = np.full((1, len(persons)), 3, np.uint8)
        fields["image_index"] = np.array([persons], object)
        struct[part] = fields
    struct["train"]["backpack"][0, 1] = struct["test"]["gender"][0, 0] = 2
    struct["test"] |= changes
    scipy.io.savemat(path, {"market_attribute": struct})
    return path


@pytest.fixture
def market(tmp_path: Path, make_image: Callable[[Path], None]) -> Path:
    """A download with the annotation in it."""
    root = tmp_path / "Market-1501-v15.09.15"
    for folder, names in IMAGES.items():
        for name in names:
            make_image(root / folder / name) if name.endswith(".jpg") else (root / folder / name).touch()
    save_mat(root / "market_attribute.mat")
    return root


def test_images_have_the_labels_of_their_person(market: Path, tmp_path: Path) -> None:
    found = prepare("market1501", market.parent, tmp_path / "out")
    persons = dict(zip(found.images, found.persons.tolist(), strict=True))
    assert persons == {
        "bounding_box_train/0002_c1s1_000451_03.jpg": "0002",
        "bounding_box_train/0002_c1s1_000551_01.jpg": "0002",
        "bounding_box_train/0007_c3s3_028459_02.jpg": "0007",
        "query/0001_c1s1_001051_00.jpg": "0001",
        "bounding_box_test/0003_c6s1_000151_01.jpg": "0003",
    }
    assert found.splits.tolist() == ["train"] * 3 + ["test"] * 2
    for image, row in zip(found.images, found.labels, strict=True):
        true = {attribute.name for attribute, value in zip(found.schema.attributes, row, strict=True) if value}
        wanted = {"0007": {"adult", "backpack"}, "0001": {"adult", "gender"}}
        assert true == wanted.get(persons[image], {"adult"})
    said = "\n".join(found.info["notes"] + found.info["warnings"])
    for words in (
        *("left out: 1 of person -1 (junk box)", "left out: 2 of person 0000", "cameras (1, 3, 6)"),
        *(
            "Left out: 1 image of no person",
            "bounding_box_test/0999_c6s1_000151_01.jpg",
            "Labels are those of the person",
        ),
    ):
        assert words in said, words


def test_the_annotation_alone_gives_a_row_for_each_person(tmp_path: Path) -> None:
    file = save_mat(tmp_path / "market_attribute.mat")
    with pytest.raises(InputError, match="--labels-only"):
        prepare("market1501", file, tmp_path / "out")
    found = prepare("market1501", file, tmp_path / "out", missing="labels-only")
    assert found.persons.tolist() == PERSONS["train"] + PERSONS["test"]
    assert (found.counts, found.labels.shape) == ({"train": 2, "test": 3}, (5, 30))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hat": np.array([[1, 0, 2]])}, "its hat is not a code from 1 to 2"),
        ({"age": np.array([[1, 5, 2]])}, "not a code from 1 to 4"),
        ({"age": np.array([[1, 2]])}, "for each of 3"),
        ({"image_index": np.array([["1", "2", "3"]], object)}, "four digits"),
        ({"image_index": np.array([["0001", "0001", "0003"]], object)}, "four digits of one person each"),
        ({"image_index": np.array([["0001", "0002", "0003"]], object)}, "a person in train and in test"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_market1501(save_mat(tmp_path / "market_attribute.mat", **changes))


def test_a_folder_of_images_must_hold_them(tmp_path: Path) -> None:
    file = save_mat(tmp_path / "market_attribute.mat")
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "0009_c1s1_000001_00.jpg").touch()
    with pytest.raises(InputError, match="No image in"):
        read_market1501(file)
