"""RAP_annotation.mat of RAPv1: columns by name, partitions from 1, unknown persons, uncertain labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.rapv1 import read_rapv1
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.official import write_official
from focuscli.errors import InputError

SCHEMA = builtin_schema("rapv1")


@pytest.fixture(scope="module")
def struct(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of an annotation of 24 images."""
    folder = tmp_path_factory.mktemp("rap") / "rapv1"
    write_official("rapv1", folder, images=24, seed=2)
    found = scipy.io.loadmat(folder / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    return {name: found[name] for name in found.dtype.names}


def read(folder: Path, struct: dict[str, Any], split: str = "official:0", **changes: Any) -> Annotations:
    """Read an annotation with changed fields; None removes one."""
    content = {name: value for name, value in {**struct, **changes}.items() if value is not None}
    scipy.io.savemat(folder / "RAP_annotation.mat", {"RAP_annotation": content})
    return read_rapv1(folder, split=split)


def changed(array: Any, rows: Any, value: int) -> Any:
    copy = array.copy()
    copy[rows] = value
    return copy


def test_columns_are_found_by_name(struct: dict[str, Any], tmp_path: Path) -> None:
    plain = read(tmp_path, struct)
    turned = read(tmp_path, struct, attribute_eng=struct["attribute_eng"][::-1], label=struct["label"][:, ::-1])
    assert np.array_equal(plain.labels, turned.labels)
    assert plain.labels[:, SCHEMA.index("Customer")].all()


@pytest.mark.parametrize("number", [0, 3])
def test_partitions_count_from_1(struct: dict[str, Any], tmp_path: Path, number: int) -> None:
    found = read(tmp_path, struct, f"official:{number}")
    test = struct["partion"][number, 0]["test_index"][0, 0].ravel().astype(int) - 1
    assert np.flatnonzero(found.splits == "test").tolist() == sorted(test.tolist())
    assert set(found.splits.tolist()) == {"train", "test"}
    assert any(f"this is partition {number}" in warning for warning in found.warnings) == (number > 0)


def test_unknown_persons_and_uncertain_labels(struct: dict[str, Any], tmp_path: Path) -> None:
    identity = changed(np.full_like(struct["identity"], 7), [0, 5], -1)
    labels = changed(changed(struct["label"], (slice(None), 0), 1), (3, 0), 2)
    found = read(tmp_path, struct, identity=identity, label=labels)
    assert [row for row, person in enumerate(found.persons.tolist()) if not person] == [0, 5]
    assert np.flatnonzero(found.labels[:, 0] == 2).tolist() == [3]
    assert any("1 labels are uncertain (value 2; Female)" in warning for warning in found.warnings)
    assert any("2 images show no known person" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"identity": None}, "no field identity; RAPv2's file is another one"),
        (lambda s: {"label": s["label"][:5]}, "5 rows of labels and 24 identities for 24 images"),
        (lambda s: {"label": s["label"] + 2}, "labels other than 0, 1 and 2"),
        (lambda s: {"identity": s["identity"][:3]}, "24 rows of labels and 3 identities for 24 images"),
        (lambda s: {"partion": s["partion"][:0]}, "has 0 partitions; official:0 is not among them"),
    ],
)
def test_contradictions_are_refused(struct: dict[str, Any], tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, struct, **change(struct))
