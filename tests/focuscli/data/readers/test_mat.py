"""MATLAB files: cells, partitions, and one kind of error for everything that can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.mat import attribute_labels, open_mat, partition_splits, pick_partition, strings
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError


def read(path: Path, name: str = "names") -> Any:
    with open_mat(path, "Fetch it again.") as variables:
        return strings(variables[name])


def test_strings_of_a_cell_array(tmp_path: Path) -> None:
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = ["Skirt&Dress", "boots", "短い"]
    scipy.io.savemat(tmp_path / "x.mat", {"names": cells})
    assert read(tmp_path / "x.mat") == ["Skirt&Dress", "boots", "短い"]
    with pytest.raises(InputError, match="it has no 'attributes'"):
        read(tmp_path / "x.mat", "attributes")


@pytest.mark.parametrize(
    "content", [None, b"", b"<html>" * 200, b"MATLAB 5.0 MAT-file" + bytes(400), b"\x89HDF\r\n\x1a\n" + bytes(600)]
)
def test_what_is_not_a_matlab_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "annotation.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a readable annotation\.mat") as caught:
        read(path)
    assert caught.value.hint == "Fetch it again."


def cell(**parts: list[int]) -> Any:
    """A partition as scipy reads one."""
    struct = np.empty((1, 1), dtype=[(part, object) for part in parts])
    for part, rows in parts.items():
        struct[part][0, 0] = np.array([rows], np.uint16)
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = struct
    return cells


def test_partition_numbers_start_at_1_and_may_be_unsorted() -> None:
    parts = {"train_index": "train", "test_index": "test"}
    found = partition_splits(cell(train_index=[4, 1], test_index=[2, 3]), parts, 4)
    assert [splits.tolist() for splits in found] == [["train", "test", "test", "train"]]
    assert pick_partition(found, 0, Path("x.mat")) is found[0]
    with pytest.raises(InputError, match=r"x\.mat has 1 partitions; official:1 is not among them"):
        pick_partition(found, 1, Path("x.mat"))
    for broken in ([4, 2], [0, 1], [4]):
        with pytest.raises(ValueError, match="partition 0 does not hold each of the 4 images once"):
            partition_splits(cell(train_index=broken, test_index=[2, 3]), parts, 4)


def test_labels_are_found_by_name(small_schema: AttributeSchema) -> None:
    names = ["Glasses", "box", "Male", "Backpack", "Hat", "Female"]
    table = np.array([[1, 9, 0, 1, 0, 2], [0, 7, 1, 0, 0, 0]], np.uint8)
    assert attribute_labels(table, names, small_schema, (0, 1, 2)).tolist() == [[0, 1, 2, 0, 1], [1, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match="Female has labels other than 0 and 1"):
        attribute_labels(table, names, small_schema, (0, 1))
    with pytest.raises(ValueError, match="for one Male"):
        attribute_labels(table, ["x", "y", "z", "Backpack", "Hat", "Female"], small_schema, (0, 1, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 6\), but it names 5"):
        attribute_labels(table, names[1:], small_schema, (0, 1, 2))
