"""Annotation files in MATLAB's format: whatever is damaged or contradicts itself is one kind of error that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.prepare import READERS
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

Fields = dict[str, Any]
PA100K = [attribute.name for attribute in builtin_schema("pa100k").attributes]


def changed(array: Any, place: Any, value: Any) -> Any:
    copy = array.copy()
    copy[place] = value
    return copy


def shifted(partitions: Any) -> Any:
    copy = partitions.copy()
    copy[2, 0]["train"][0, 0][0, 0] += 1
    return copy


CONTRADICTIONS: list[tuple[str, Callable[[Fields], Fields], str]] = [
    ("peta", lambda f: {"data": f["data"][:, :-1]}, "names 105 attributes"),
    ("peta", lambda f: {"data": f["data"][1:]}, "does not count from 1"),
    ("peta", lambda f: {"data": np.where(f["data"] == 0, 3, f["data"])}, "other than 0 and 1"),
    ("peta", lambda f: {"data": changed(f["data"], (0, 2), 11)}, "subset numbers"),
    ("peta", lambda f: {"attribute": changed(f["attribute"], 0, "hat")}, "for one personalLess30"),
    ("peta", lambda f: {"partion_attribute": f["attribute"]}, r"not a readable PETA\.mat"),
    ("peta", lambda f: {"partion_attribute": shifted(f["partion_attribute"])}, "partition 2 does not hold each"),
    ("pa100k", lambda f: {"val_label": None}, "it has no 'val_label'"),
    ("pa100k", lambda f: {"attributes": changed(f["attributes"], 0, PA100K[1])}, "not PA-100K's 26 in their order"),
    ("pa100k", lambda f: {"test_label": f["test_label"][:1]}, "test_label has 1 rows, but there are 2 names"),
    ("pa100k", lambda f: {"train_label": 3 * f["train_label"]}, "Female has labels other than 0 and 1"),
    ("pa100k", lambda f: {"test_images_name": changed(f["test_images_name"], 0, "000001.jpg")}, "an image twice"),
    ("rapv1", lambda _: {"identity": None}, "no field identity; RAPv2's file is another one"),
    ("rapv1", lambda f: {"label": f["label"][:5]}, "5 rows of labels and 24 identities for 24 images"),
    ("rapv1", lambda f: {"label": f["label"] + 2}, "labels other than 0, 1 and 2"),
    ("rapv1", lambda f: {"identity": f["identity"][:3]}, "24 rows of labels and 3 identities for 24 images"),
    ("rapv1", lambda f: {"partion": f["partion"][:0]}, "has 0 partitions; official:0 is not among them"),
    ("rapv2", lambda _: {"selected_attribute": None}, r"no field selected_attribute; RAPv1's .*focus prepare rapv1"),
    ("rapv2", lambda f: {"data": f["data"][:, 1:]}, "data have shape"),
    ("rapv2", lambda _: {"selected_attribute": np.array([[200]])}, "different numbers of its columns, from 1"),
    ("rapv2", lambda _: {"selected_attribute": np.array([[0, 3]])}, "different numbers of its columns, from 1"),
    ("rapv2", lambda _: {"selected_attribute": np.array([[3, 3]])}, "different numbers of its columns, from 1"),
    ("rapv2", lambda _: {"selected_attribute": np.array([[31]])}, "box-x has labels other than 0, 1 and 2"),
    (
        "rapv2",
        lambda f: {"partition_attribute": f["partition_attribute"][:, :0]},
        "has 0 partitions; official:0 is not",
    ),
]


@pytest.mark.parametrize(("name", "change", "words"), CONTRADICTIONS)
def test_contradictions_are_refused(annotation_file: Any, mat_fields: Any, name: str, change: Any, words: str) -> None:
    path = annotation_file(name)
    mat_fields(path, change)
    with pytest.raises(InputError, match=words):
        READERS[name](path.parent)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        *((b"", kept) for kept in (0, 60, 128, 300, 2000)),
        (b"<html>" * 200, 0),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), 0),
    ],
)
def test_what_is_not_a_matlab_file_is_refused(annotation_file: Any, head: bytes, kept: int) -> None:
    path = annotation_file("peta")
    path.write_bytes(head + path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"is not a readable PETA\.mat") as caught:
        READERS["peta"](path.parent)
    assert "343,449 bytes" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "field", "labels"), [("peta", "attribute", "data"), ("rapv1", "attribute_eng", "label")]
)
def test_columns_are_found_by_name(annotation_file: Any, mat_fields: Any, name: str, field: str, labels: str) -> None:
    path: Path = annotation_file(name)
    plain = READERS[name](path.parent)
    head = 4 if name == "peta" else 0

    def turn(fields: Fields) -> Fields:
        table = np.hstack([fields[labels][:, :head], fields[labels][:, head:][:, ::-1]])
        return {field: fields[field][::-1], labels: table}

    mat_fields(path, turn)
    turned = READERS[name](path.parent)
    assert plain.labels.any()
    assert np.array_equal(plain.labels, turned.labels)
