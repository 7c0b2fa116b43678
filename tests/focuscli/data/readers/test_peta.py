"""PETA: both layouts, both sources of labels, the splits, and what must not pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.peta import load_peta, peta_splits, peta_warnings, read_peta, read_peta_mat
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError, UsageError

SCHEMA = builtin_schema("peta")
FakePeta = Callable[..., Any]
MakeImage = Callable[..., None]


@pytest.mark.parametrize("layout", ["subsets", "numbered"])
def test_both_layouts_give_the_same_labels_persons_and_splits(fake_peta: FakePeta, layout: str) -> None:
    fake = fake_peta(layout)
    for number in range(5):
        found = read_peta(fake.root.parent, split=f"official:{number}")
        assert found.published == {"train": 9500, "val": 1900, "test": 7600}
        for part, rows in fake.partitions[number].items():
            assert np.flatnonzero(found.splits == part).tolist() == rows.tolist()
    assert found.labels.tolist() == fake.labels.tolist()
    assert found.persons[:4].tolist() == ["3DPeS/100", "3DPeS/100", "3DPeS/12", "3DPeS/9"]
    assert np.array_equal(
        read_peta(fake.root.parent, split="official").splits, read_peta(fake.root.parent, split="official:0").splits
    )


def test_without_peta_mat_only_splits_of_our_own_can_be_made(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    for split in ("official:0", "paper"):
        with pytest.raises(InputError, match=r"written in PETA\.mat, and there is none") as caught:
            read_peta(fake.root, split=split)
        assert "--split identity" in (caught.value.hint or "")
    found = read_peta(fake.root, split="identity")
    assert found.labels.tolist() == fake.labels.tolist()
    assert found.info["labels_from"] == "Label.txt"


def test_the_identity_split_is_the_same_with_and_without_peta_mat(fake_peta: FakePeta) -> None:
    found = [
        read_peta(fake_peta(layout, mat=mat, folder=folder).root.parent, split="identity")
        for layout, mat, folder in (("subsets", True, "a"), ("subsets", False, "b"), ("numbered", True, "c"))
    ]
    assert found[0].splits.tolist() == found[1].splits.tolist() == found[2].splits.tolist()
    for person in set(found[0].persons):
        assert len(set(found[0].splits[found[0].persons == person])) == 1


def test_the_papers_sentence_is_test_for_training_and_val_for_test(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    found = read_peta(fake.root, split="paper")
    assert found.published == {"train": 7600, "test": 1900, "unused": 9500}
    for name, part in (("train", "test"), ("test", "val"), ("unused", "train")):
        assert np.flatnonzero(found.splits == name).tolist() == fake.partitions[0][part].tolist()
    assert any("compares with no published row" in text for text in found.warnings)


def test_camera_sites_can_be_kept_for_testing(fake_peta: FakePeta) -> None:
    for layout in ("subsets", "numbered"):
        fake = fake_peta(layout, folder=layout)
        found = read_peta(fake.root.parent, split="subset:viper, GRID")
        assert np.array_equal(found.splits == "test", np.isin(fake.subsets, (4, 10)))
        assert set(found.splits.tolist()) == {"train", "val", "test"}
        assert found.published is None


@pytest.mark.parametrize(
    ("split", "problem", "hint"),
    [
        ("official:5", "Unknown split", "official:4"),
        ("official:", "Unknown split", ""),
        ("official:00", "Unknown split", ""),
        ("", "Unknown split", "subset:VIPeR,GRID"),
        ("subset:VIPer,GRIB", 'no subset "GRIB"', "Did you mean GRID?"),
        ("subset:", "no images to test on", "subset:VIPeR"),
        ("subset:3DPeS,CAVIAR4REID,CUHK,GRID,i-LID,MIT,PRID,SARC3D,TownCentre,VIPeR", "no images to train on", ""),
        ("zs:", "names no file", "dataset_zs_run0.pkl"),
    ],
)
def test_a_wrong_split_is_a_usage_error_before_anything_is_read(split: str, problem: str, hint: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        read_peta(Path("nowhere"), split=split)
    assert hint in (caught.value.hint or "")


def test_a_folder_of_images_cannot_be_given(fake_peta: FakePeta) -> None:
    with pytest.raises(UsageError, match="found by their place"):
        read_peta(Path("nowhere"), images=Path("elsewhere"))


def test_a_lost_or_added_image_is_noticed(fake_peta: FakePeta, make_image: MakeImage) -> None:
    fake = fake_peta()
    (fake.root / "TownCentre/archive/0_8.jpg").unlink()
    with pytest.raises(InputError, match="TownCentre has 3 images, not 4"):
        load_peta(fake.root, SCHEMA)
    make_image(fake.root / "TownCentre/archive/7_8.jpg")
    with pytest.raises(InputError, match=r"images .* are not the ones of .*; the first is TownCentre"):
        load_peta(fake.root, SCHEMA)


def test_label_txt_and_peta_mat_are_compared(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    count = len(fake.images)
    notes = "\n".join(load_peta(fake.root, SCHEMA).notes)
    assert f"for {count - 2} of {count} images; 2 have attributes that PETA.mat does not" in notes
    assert "1 lines of Label.txt are about" in notes
    (fake.root / "PRID/archive/Label.txt").write_text("0001 personalMale\n0709 personalMale\n")
    with pytest.raises(InputError, match=f"disagree on 3 of {count} images; the first is PRID"):
        load_peta(fake.root, SCHEMA)


def test_warnings_say_what_readers_of_metrics_must_know(fake_peta: FakePeta) -> None:
    peta = load_peta(fake_peta().root, SCHEMA)
    peta.labels[:, 34] = 0
    peta.labels[2, :35] = 0
    splits, _ = peta_splits(peta, "official:0")
    test = splits == "test"
    seen = set(peta.persons[~test])
    shared = set(peta.persons[test]) & seen
    images = sum(person in seen for person in peta.persons[test])
    text = "\n".join(peta_warnings(peta, splits, "official:0", SCHEMA))
    for part in (
        f"{len(shared)} of {len(set(peta.persons[test]))} persons in test, with {images} of {test.sum()} test images",
        "PETA has 19,000 images",
        "--split paper",
        "train + val",
        "ALM",
        "inferred",
        "upperBodyVNeck 0.0 %",
        f"1 image with none of the evaluated attributes (first: {peta.files.images[2]}",
    ):
        assert part in text
    assert "partition 0 (POAR" not in text
    other = "\n".join(peta_warnings(peta, peta_splits(peta, "official:4")[0], "official:4", SCHEMA))
    assert "this is partition 4" in other
    own = "\n".join(peta_warnings(peta, peta_splits(peta, "identity")[0], "identity", SCHEMA))
    assert "persons in test" not in own
    assert "our own" in own


def changed(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    struct = scipy.io.loadmat(path)["peta"][0, 0]
    content = {name: struct[name].copy() for name in struct.dtype.names}
    scipy.io.savemat(path, {"peta": {**content, **change(content)}})
    return path


def test_columns_of_peta_mat_in_another_order_are_put_in_the_schemas(fake_peta: FakePeta) -> None:
    fake = fake_peta()

    def turn(content: dict[str, Any]) -> dict[str, Any]:
        content["data"][:, 4:] = content["data"][:, 4:][:, ::-1]
        return {"attribute": content["attribute"][::-1]}

    mat = read_peta_mat(changed(fake.root.parent / "PETA.mat", turn), SCHEMA)
    assert mat.labels.tolist() == fake.labels.tolist()
    assert (mat.subsets.tolist(), mat.numbers.tolist()) == (fake.subsets, fake.numbers)


def with_value(array: Any, place: Any, value: Any) -> Any:
    copy = array.copy()
    copy[place] = value
    return copy


def shifted(partitions: Any) -> Any:
    copy = partitions.copy()
    copy[2, 0]["train"][0, 0][0, 0] += 1
    return copy


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: {"data": c["data"][:, :-1]}, "names 105 attributes"),
        (lambda c: {"data": c["data"][1:]}, "does not count from 1"),
        (lambda c: {"data": np.where(c["data"] == 0, 3, c["data"])}, "other than 0 and 1"),
        (lambda c: {"data": with_value(c["data"], (0, 2), 11)}, "subset numbers"),
        (lambda c: {"attribute": with_value(c["attribute"], 0, "hat")}, "for one personalLess30"),
        (lambda c: {"partion_attribute": c["attribute"]}, ""),
        (lambda c: {"partion_attribute": shifted(c["partion_attribute"])}, "partition 2 does not hold each"),
    ],
)
def test_a_peta_mat_that_contradicts_the_format_is_refused(fake_peta: FakePeta, change: Any, problem: str) -> None:
    path = changed(fake_peta().root.parent / "PETA.mat", change)
    with pytest.raises(InputError, match=r"is not a readable PETA\.mat") as caught:
        read_peta_mat(path, SCHEMA)
    assert problem in caught.value.problem


@pytest.mark.parametrize("size", [0, 60, 128, 300, 2000])
def test_a_truncated_peta_mat_is_refused(fake_peta: FakePeta, size: int) -> None:
    path = fake_peta().root.parent / "PETA.mat"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="is not a readable"):
        read_peta_mat(path, SCHEMA)
