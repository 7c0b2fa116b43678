"""What the readers of official downloads share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focuscli.data.readers.annotations import find_file, find_image_root, rare_attributes
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError


def test_find_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "x.mat"
    file.touch()
    assert find_file(tmp_path, "x.mat", "X", ("inner",)) == file
    assert find_file(file, "x.mat", "X") == file
    with pytest.raises(InputError, match="is not a X download"):
        find_file(tmp_path, "x.mat", "X")
    with pytest.raises(InputError, match="No such folder"):
        find_file(tmp_path / "nowhere", "x.mat", "X")


def test_find_image_root_takes_the_folder_that_has_any(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(500)]
    places = [tmp_path / "a", tmp_path / "b"]
    assert find_image_root(places, names) == places[0]
    places[1].mkdir()
    (places[1] / "490.jpg").touch()
    assert find_image_root(places, names) == places[1]


def test_rare_attributes_count_train_alone(small_schema: AttributeSchema) -> None:
    count = len(small_schema.attributes)
    labels = np.ones((200, count), np.int8)
    labels[:99, 0] = 0
    splits = np.array(["train"] * 100 + ["test"] * 100)
    assert rare_attributes(small_schema, labels, splits)[0].count("1.0 %") == 1
    labels[:100, 0] = 2  # uncertain is not a positive
    assert "0.0 %" in rare_attributes(small_schema, labels, splits)[0]
    assert rare_attributes(small_schema, np.ones((200, count), np.int8), splits) == []
