"""Annotation files of official downloads: what is read, and that every contradiction is one error that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.prepare import READERS
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError, UsageError

Fields = dict[str, Any]
PA100K = [attribute.name for attribute in builtin_schema("pa100k").attributes]


def changed(array: Any, place: Any, value: Any) -> Any:
    copy = array.copy()
    copy[place] = value
    return copy


def shifted(partitions: Any) -> Any:
    copy = partitions.copy()
    copy[0, 0]["train"][0, 0][0, 0] += 1
    return copy


CONTRADICTIONS: list[tuple[str, Callable[[Fields], Fields], str]] = [
    ("peta", lambda f: {"data": f["data"][:, :-1]}, "names 105 attributes"),
    ("peta", lambda f: {"data": f["data"][1:]}, "does not count from 1"),
    ("peta", lambda f: {"data": np.where(f["data"] == 0, 3, f["data"])}, "other than 0, 1"),
    ("peta", lambda f: {"data": changed(f["data"], (0, 2), 11)}, "subset numbers"),
    ("peta", lambda f: {"attribute": changed(f["attribute"], 0, "hat")}, "such as personalLess30"),
    ("peta", lambda f: {"partion_attribute": f["attribute"]}, r"not a usable PETA\.mat"),
    ("peta", lambda f: {"partion_attribute": shifted(f["partion_attribute"])}, "partition 0 does not hold each"),
    ("pa100k", lambda f: {"val_label": None}, "it has no 'val_label'"),
    ("pa100k", lambda f: {"attributes": changed(f["attributes"], 0, PA100K[1])}, "1 of the known attributes are"),
    ("pa100k", lambda f: {"test_label": f["test_label"][:1]}, "test_label does not have a row for each image"),
    ("rapv1", lambda _: {"identity": None}, "no field of name identity"),
    ("rapv1", lambda f: {"label": f["label"][:5]}, "5 rows and 30 identities for 30 images"),
    ("rapv1", lambda f: {"label": f["label"] + 2}, "labels other than 0, 1, 2"),
    ("rapv1", lambda f: {"partion": f["partion"][:0]}, "has 0 partitions; official:0 is not among them"),
    ("rapv2", lambda _: {"selected_attribute": None}, "no field of name selected_attribute"),
    ("rapv2", lambda f: {"data": f["data"][1:]}, "19 rows for 20 images"),
    ("rapv2", lambda _: {"selected_attribute": np.array([[200]])}, r"not a usable RAP_annotation\.mat"),
]


@pytest.mark.parametrize(("name", "change", "words"), CONTRADICTIONS)
def test_contradictions_are_refused(download: Any, edit_mat: Any, name: str, change: Any, words: str) -> None:
    folder = download(name)
    edit_mat(folder, change)
    with pytest.raises(InputError, match=words):
        READERS[name](folder)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", 60, 2000])
def test_what_is_not_a_matlab_file_is_refused(download: Any, content: bytes | int) -> None:
    path = download("peta") / "PETA.mat"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    with pytest.raises(InputError, match=r"is not a usable PETA\.mat") as caught:
        READERS["peta"](path)
    assert "343,449 bytes" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "split", "known"),
    [
        ("peta", "official:5", "official:4, identity, paper, subset:VIPeR,GRID, zs:FILE"),
        ("peta", "", "official:0"),
        ("peta", "subset:VIPer,GRIB", "Did you mean GRID?"),
        ("peta", "subset:", "VIPeR"),
        ("peta", "subset:3DPeS,CAVIAR4REID,CUHK,GRID,i-LID,MIT,PRID,SARC3D,TownCentre,VIPeR", "subset:VIPeR,GRID"),
        ("peta", "zs: ", "dataset_zs_run0.pkl"),
        ("pa100k", "official:1", "official (80,000 / 10,000 / 10,000)"),
        ("rapv1", "official:00", "official:0 to official:4"),
        ("rapv2", "identity", "zs:FILE"),
    ],
)
def test_a_wrong_split_is_a_usage_error_before_anything_is_read(name: str, split: str, known: str) -> None:
    with pytest.raises(UsageError) as caught:
        READERS[name](Path("nowhere"), split=split)
    assert known in (caught.value.hint or "")


def test_labels_and_splits_of_pa100k_stay_with_their_images(download: Any, edit_mat: Any) -> None:
    folder = download("pa100k")
    (folder / "release_data/release_data").rename(folder / "data")
    found, fields = READERS["pa100k"](folder.parent), edit_mat(folder)
    assert found.images == [f"{number:06}.jpg" for number in range(1, 31)]
    for part in ("train", "val", "test"):
        assert np.array_equal(found.labels[found.splits == part], fields[f"{part}_label"])
        names = [str(name[0]) for name in fields[f"{part}_images_name"][:, 0]]
        assert [*np.array(found.images)[found.splits == part]] == names
    assert found.root == (folder / "data").resolve()
    assert set(found.persons.tolist()) == {""}


@pytest.mark.parametrize("number", [0, 3])
def test_rapv1_partitions_count_from_1_and_persons_may_be_unknown(download: Any, edit_mat: Any, number: int) -> None:
    folder = download("rapv1")
    found, fields = READERS["rapv1"](folder, split=f"official:{number}"), edit_mat(folder)
    test = fields["partion"][number, 0]["test_index"][0, 0].ravel().astype(int) - 1
    assert np.flatnonzero(found.splits == "test").tolist() == sorted(test.tolist())
    assert set(found.splits.tolist()) == {"train", "test"}
    assert any(f"this is partition {number}" in warning for warning in found.warnings) == (number > 0)
    wanted = ["" if person < 0 else str(person) for person in fields["identity"].ravel().astype(int)]
    assert found.persons.tolist() == wanted
    assert "" in wanted
    assert np.array_equal(found.labels, fields["label"])
    assert 2 in found.labels


def test_rapv2_takes_what_is_evaluated_from_the_file(download: Any, edit_mat: Any) -> None:
    folder = download("rapv2")
    found, fields = READERS["rapv2"](folder), edit_mat(folder)
    columns = [str(name[0]) for name in fields["attribute"].ravel()]
    for position, attribute in enumerate(found.schema.attributes):
        assert found.labels[:, position].tolist() == fields["data"][:, columns.index(attribute.name)].tolist()
    assert found.schema == builtin_schema("rapv2")
    assert found.warnings[0].startswith("This reader was never run on the real file")
    for part, rows in zip(("train", "val", "test"), fields["partition_attribute"][0, 4][0, 0], strict=True):
        assert np.flatnonzero(found.splits == part).tolist() == sorted(rows.ravel().astype(int) - 1)
    fewer = fields["selected_attribute"][:, [2, 0]]
    renamed = changed(fields["attribute"], (40, 0), "unheard")
    data = changed(fields["data"], (0, 4), 77)
    edit_mat(folder, lambda _: {"selected_attribute": fewer, "attribute": renamed, "data": data})
    found = READERS["rapv2"](folder)
    assert len(found.schema.attributes) == 109  # one has other values, one is unknown
    assert {attribute.name for attribute in found.schema.evaluated} == {columns[column - 1] for column in fewer[0]}
    assert any("54 attributes should be evaluated; here are 2" in warning for warning in found.warnings)
