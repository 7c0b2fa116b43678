"""MATLAB files: cells, partitions, and one kind of error for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.mat import partition_parts, read_mat_file, strings
from focuscli.errors import InputError


def test_strings_of_a_cell_array(tmp_path: Path) -> None:
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = ["Skirt&Dress", "boots", "短い"]
    scipy.io.savemat(tmp_path / "x.mat", {"names": cells})
    found = read_mat_file(tmp_path / "x.mat", lambda variables: strings(variables["names"]), "")
    assert found == ["Skirt&Dress", "boots", "短い"]


def test_partition_numbers_start_at_1_and_may_be_unsorted() -> None:
    entry = {"train": np.array([[4, 1]], np.uint16), "test": np.array([[2], [3]], np.uint16)}
    found = partition_parts(entry, ("train", "test"), 0, 4)
    assert {part: rows.tolist() for part, rows in found.items()} == {"train": [3, 0], "test": [1, 2]}
    for broken in ([4, 2], [0, 1], [4]):
        with pytest.raises(ValueError, match="partition 3 does not hold each of the 4 images once"):
            partition_parts({**entry, "train": np.array([broken], np.uint16)}, ("train", "test"), 3, 4)


@pytest.mark.parametrize(
    "content", [b"", b"<html>" * 200, b"MATLAB 5.0 MAT-file" + bytes(400), b"\x89HDF\r\n\x1a\n" + bytes(600)]
)
def test_what_is_no_matlab_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "annotation.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a readable annotation\.mat") as caught:
        read_mat_file(path, lambda variables: variables["attributes"], "Fetch it again.")
    assert caught.value.hint == "Fetch it again."


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"other": np.zeros(2)})
    with pytest.raises(InputError, match="it has no 'attributes'"):
        read_mat_file(tmp_path / "x.mat", lambda variables: variables["attributes"], "")


def test_errors_of_our_own_pass_through(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"other": np.zeros(2)})

    def parse(_variables: object) -> None:
        raise InputError("said so")

    with pytest.raises(InputError, match="said so"):
        read_mat_file(tmp_path / "x.mat", parse, "")
    with pytest.raises(InputError, match="is not a readable"):
        read_mat_file(tmp_path / "nowhere.mat", parse, "")
