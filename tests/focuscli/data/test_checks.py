"""What is warned of in a dataset's labels, and their counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focuscli.data.checks import dataset_warnings, label_counts
from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import Attribute, AttributeSchema


def make(labels: list[list[int]], splits: list[str], groups: str = "gg") -> DatasetFolder:
    attributes = [
        Attribute(name=name, phrase=name, region="head", category="c", group=group)
        for name, group in zip(("hat", "cap"), groups, strict=True)
    ]
    images = tuple(f"{row}.png" for row in range(len(labels)))
    persons = np.full(len(labels), "")
    schema = AttributeSchema(name="x", attributes=tuple(attributes))
    return DatasetFolder(Path("x"), schema, images, np.array(splits), persons, np.array(labels, np.int8))


def test_counts_are_of_all_images_and_of_each_split() -> None:
    counts = label_counts(make([[0, 1], [1, 1], [2, 0]], ["train", "train", "test"]))
    assert counts["hat"] == {
        "all": {"present": 1, "absent": 1, "unknown": 1},
        "train": {"present": 1, "absent": 1, "unknown": 0},
        "test": {"present": 0, "absent": 0, "unknown": 1},
    }
    assert counts["cap"]["all"] == {"present": 2, "absent": 1, "unknown": 0}


def test_one_line_for_each_kind_of_oddity() -> None:
    sound = make([[0, 1], [1, 0]] * 20, (["train"] * 20) + ["test"] * 20)
    assert dataset_warnings(sound) == []
    odd = make([[0, 1], [0, 2]] * 5 + [[1, 0], [0, 1]] * 3, ["train"] * 10 + ["val"] * 6, "gh")
    single, positive, negative, few = dataset_warnings(odd)
    assert "single text" in single
    assert single.count("g, h") == 1
    assert positive == "No positive labels: hat (train); they cannot be learned."
    assert negative.startswith("No negative labels: cap (train)")
    assert "(val 6)" in few
