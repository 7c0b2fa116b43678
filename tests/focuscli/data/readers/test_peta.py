"""PETA: both layouts, both sources of labels, the splits, and what must not pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.readers.peta import read_peta
from focuscli.errors import InputError, UsageError

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
    assert read_peta(fake.root, split="official").splits.tolist() == read_peta(fake.root).splits.tolist()


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
        ("zs: ", "names no file", "dataset_zs_run0.pkl"),
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
        read_peta(fake.root)
    make_image(fake.root / "TownCentre/archive/7_8.jpg")
    with pytest.raises(InputError, match=r"images .* are not the ones of .*; the first is TownCentre"):
        read_peta(fake.root)


def test_label_txt_and_peta_mat_are_compared(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    count = len(fake.images)
    notes = "\n".join(read_peta(fake.root).notes)
    assert f"for {count - 2} of {count} images; 2 have attributes that PETA.mat does not" in notes
    assert "1 lines of Label.txt are about" in notes
    (fake.root / "PRID/archive/Label.txt").write_text("0001 personalMale\n0709 personalMale\n")
    with pytest.raises(InputError, match=f"disagree on 3 of {count} images; the first is PRID"):
        read_peta(fake.root)


def test_warnings_say_what_readers_of_metrics_must_know(fake_peta: FakePeta, mat_fields: Any) -> None:
    fake = fake_peta()
    found = read_peta(fake.root)
    test = found.splits == "test"
    seen = set(found.persons[~test])
    shared = set(found.persons[test]) & seen
    images = sum(person in seen for person in found.persons[test])
    text = "\n".join(found.warnings)
    for part in (
        f"{len(shared)} of {len(set(found.persons[test]))} persons in test, with {images} of {test.sum()} test images",
        "PETA has 19,000 images",
        "--split paper",
        "train + val",
        "ALM",
        "inferred",
    ):
        assert part in text
    assert "partition 0 (POAR" not in text
    assert "this is partition 4" in "\n".join(read_peta(fake.root, split="official:4").warnings)
    own = "\n".join(read_peta(fake.root, split="identity").warnings)
    assert "persons in test" not in own
    assert "our own" in own

    def fewer(fields: dict[str, Any]) -> dict[str, Any]:
        fields["data"][:, 4 + 34] = 0
        fields["data"][2, 4 : 4 + 35] = 0
        return {"data": fields["data"]}

    numbered = fake_peta("numbered", folder="other").root.parent
    mat_fields(numbered / "PETA.mat", fewer)
    text = "\n".join(read_peta(numbered).warnings)
    assert "upperBodyVNeck 0.0 %" in text
    assert "1 image with none of the evaluated attributes (first: 00003.png" in text
    assert "inferred" not in text
