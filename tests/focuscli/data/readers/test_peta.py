from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from focuscli.data.readers.peta import parse_split, peta_splits, peta_warnings, read_peta
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError, UsageError

SCHEMA = builtin_schema("peta")
FakePeta = Callable[..., Any]
MakeImage = Callable[..., None]


@pytest.mark.parametrize("layout", ["subsets", "numbered"])
def test_both_layouts_give_the_same_labels_persons_and_splits(fake_peta: FakePeta, layout: str) -> None:
    fake = fake_peta(layout)
    peta = read_peta(fake.root.parent, SCHEMA)
    assert peta.labels.tolist() == fake.labels.tolist()
    assert peta.persons[:4].tolist() == ["3DPeS/100", "3DPeS/100", "3DPeS/12", "3DPeS/9"]
    for number in range(5):
        splits, published = peta_splits(peta, f"official:{number}")
        assert published == {"train": 9500, "val": 1900, "test": 7600}
        for part, rows in fake.partitions[number].items():
            assert np.flatnonzero(splits == part).tolist() == rows.tolist()


def test_without_peta_mat_only_the_identity_split_can_be_made(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    peta = read_peta(fake.root, SCHEMA)
    for split in ("official:0", "paper"):
        with pytest.raises(InputError, match=r"written in PETA\.mat, and there is none") as caught:
            peta_splits(peta, split)
        assert "--split identity" in (caught.value.hint or "")
    assert set(peta_splits(peta, "identity")[0]) == {"train", "val", "test"}


def test_the_identity_split_is_the_same_with_and_without_peta_mat(fake_peta: FakePeta) -> None:
    with_mat = read_peta(fake_peta(folder="a").root, SCHEMA)
    without = read_peta(fake_peta(folder="b", mat=False).root, SCHEMA)
    numbered = read_peta(fake_peta("numbered", folder="c").root, SCHEMA)
    splits = [peta_splits(peta, "identity")[0].tolist() for peta in (with_mat, without, numbered)]
    assert splits[0] == splits[1] == splits[2]
    for person in set(with_mat.persons):
        assert len(set(np.array(splits[0])[with_mat.persons == person])) == 1


def test_the_papers_sentence_is_test_for_training_and_val_for_test(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    peta = read_peta(fake.root, SCHEMA)
    splits, published = peta_splits(peta, "paper")
    assert published == {"train": 7600, "test": 1900, "unused": 9500}
    parts = fake.partitions[0]
    for name, part in (("train", "test"), ("test", "val"), ("unused", "train")):
        assert np.flatnonzero(splits == name).tolist() == parts[part].tolist()
    assert any("compares with no published row" in text for text in peta_warnings(peta, splits, "paper", SCHEMA))


@pytest.mark.parametrize("split", ["official:5", "official:", "official:00", "random", ""])
def test_an_unknown_split_is_a_usage_error(split: str) -> None:
    with pytest.raises(UsageError, match="Unknown split"):
        parse_split(split)


def test_official_alone_is_partition_0() -> None:
    assert parse_split("official") == ("official", 0)
    assert parse_split("official:3") == ("official", 3)


def test_a_lost_or_added_image_is_noticed(fake_peta: FakePeta, make_image: MakeImage) -> None:
    fake = fake_peta()
    (fake.root / "TownCentre/archive/0_8.jpg").unlink()
    with pytest.raises(InputError, match="TownCentre has 3 images, not 4"):
        read_peta(fake.root, SCHEMA)
    make_image(fake.root / "TownCentre/archive/7_8.jpg")
    with pytest.raises(InputError, match=r"images .* are not the ones of .*; the first is TownCentre"):
        read_peta(fake.root, SCHEMA)


def test_label_txt_and_peta_mat_are_compared(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    notes = read_peta(fake.root, SCHEMA).notes
    count = len(fake.images)
    assert any(
        f"for {count - 2} of {count} images; 2 have attributes that PETA.mat leaves out" in note for note in notes
    )
    assert any("1 lines of Label.txt are about" in note for note in notes)
    label_file = fake.root / "PRID/archive/Label.txt"
    label_file.write_text("0001 personalMale\n0709 personalMale\n")
    with pytest.raises(InputError, match=f"disagree on 3 of {count} images; the first is PRID"):
        read_peta(fake.root, SCHEMA)


def test_warnings_say_what_a_reader_of_figures_must_know(fake_peta: FakePeta) -> None:
    peta = read_peta(fake_peta().root, SCHEMA)
    splits, _ = peta_splits(peta, "official:0")
    persons = peta.persons
    test = splits == "test"
    seen = set(persons[~test])
    shared = sorted(set(persons[test]) & seen)
    images = sum(person in seen for person in persons[test])
    text = "\n".join(peta_warnings(peta, splits, "official:0", SCHEMA))
    assert (
        f"{len(shared)} of {len(set(persons[test]))} persons in test, with {images} of {test.sum()} test images" in text
    )
    for part in ("PETA has 19,000 images", "--split paper", "train + val", "ALM", "inferred"):
        assert part in text
    assert "partition 0 (POAR" not in text
    other = "\n".join(peta_warnings(peta, peta_splits(peta, "official:4")[0], "official:4", SCHEMA))
    assert "this is partition 4" in other
    own = "\n".join(peta_warnings(peta, peta_splits(peta, "identity")[0], "identity", SCHEMA))
    assert "persons in test" not in own
    assert "our own" in own


def test_rare_attributes_and_bare_images_are_named(fake_peta: FakePeta) -> None:
    peta = read_peta(fake_peta(mat=False).root, SCHEMA)
    splits, _ = peta_splits(peta, "identity")
    peta.labels[:, 34] = 0
    peta.labels[2, :35] = 0
    text = "\n".join(peta_warnings(peta, splits, "identity", SCHEMA))
    assert "upperBodyVNeck 0.0 %" in text
    assert f"1 image with none of the evaluated attributes (first: {peta.files.images[2]}" in text
