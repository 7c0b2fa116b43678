from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.peta_mat import read_mat
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

SCHEMA = builtin_schema("peta")
FakePeta = Callable[..., Any]


def test_reads_table_names_and_partitions(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    mat = read_mat(fake.root.parent / "PETA.mat", SCHEMA)
    assert mat.labels.dtype == np.int8
    assert mat.labels.tolist() == fake.labels.tolist()
    assert mat.subsets.tolist() == fake.subsets
    assert mat.numbers.tolist() == fake.numbers
    assert mat.evaluated == tuple(attribute.name for attribute in SCHEMA.evaluated)
    assert len(mat.partitions) == 5
    for found, made in zip(mat.partitions, fake.partitions, strict=True):
        for part in ("train", "val", "test"):
            assert found[part].dtype == np.int64
            assert found[part].tolist() == made[part].tolist()


def test_columns_in_another_order_are_put_in_the_schemas(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    path = fake.root.parent / "PETA.mat"
    struct = scipy.io.loadmat(path)["peta"][0, 0]
    content = {name: struct[name].copy() for name in struct.dtype.names}
    content["data"][:, 4:] = content["data"][:, 4:][:, ::-1]
    content["attribute"] = content["attribute"][::-1]
    scipy.io.savemat(path, {"peta": content})
    assert read_mat(path, SCHEMA).labels.tolist() == fake.labels.tolist()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: {"data": c["data"][:, :-1]}, "names 105 attributes"),
        (lambda c: {"data": c["data"][1:]}, "does not count from 1"),
        (lambda c: {"data": np.where(c["data"] == 0, 3, c["data"])}, "other than 0 and 1"),
        (lambda c: {"data": _with(c["data"], 2, 11)}, "subset numbers"),
        (lambda c: {"attribute": _with(c["attribute"], 0, "hat")}, "for one personalLess30"),
        (lambda c: {"partion_attribute": c["attribute"]}, ""),
        (lambda c: {"partion_attribute": _shifted(c["partion_attribute"])}, "partition 2 does not hold each"),
        (lambda c: {"selected_attribute": np.array([[400]])}, ""),
    ],
)
def test_a_file_that_contradicts_the_format_is_refused(fake_peta: FakePeta, change: Any, problem: str) -> None:
    path = fake_peta().root.parent / "PETA.mat"
    struct = scipy.io.loadmat(path)["peta"][0, 0]
    content = {name: struct[name].copy() for name in struct.dtype.names}
    scipy.io.savemat(path, {"peta": {**content, **change(content)}})
    with pytest.raises(InputError, match=r"is not a readable PETA\.mat") as caught:
        read_mat(path, SCHEMA)
    assert problem in caught.value.problem


def _with(array: Any, column: int, value: Any) -> Any:
    changed = array.copy()
    changed[0, column] = value
    return changed


def _shifted(partitions: Any) -> Any:
    changed = partitions.copy()
    changed[2, 0]["train"][0, 0][0, 0] += 1
    return changed


@pytest.mark.parametrize("size", [0, 60, 128, 300, 2000])
def test_a_truncated_file_is_refused(fake_peta: FakePeta, size: int) -> None:
    path = fake_peta().root.parent / "PETA.mat"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="is not a readable"):
        read_mat(path, SCHEMA)


def test_other_content_and_other_variables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "PETA.mat"
    for content in (b"\x89HDF\r\n\x1a\n" + bytes(600), b"MATLAB 7.3" + bytes(600), b"<html>not found</html>" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a readable"):
            read_mat(path, SCHEMA)
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(InputError, match="is not a readable"):
        read_mat(path, SCHEMA)
