"""Against the real PETA: every count that is published or that facts on its files state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.prepare import prepare_peta
from focuscli.data.readers.peta import Peta, peta_splits, read_peta
from focuscli.data.report import PrepareReport
from focuscli.data.schema import builtin_schema, text_targets
from focuscli.data.splits import shared_persons

pytestmark = pytest.mark.data
SCHEMA = builtin_schema("peta")


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Path:
    folder = shared_data / "peta"
    if not folder.is_dir():
        pytest.skip(f"no PETA in {shared_data}")
    return folder


@pytest.fixture(scope="module")
def peta(source: Path) -> Peta:
    return read_peta(source, SCHEMA)


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PrepareReport, DatasetFolder]:
    """The one pass that decodes all images."""
    out = tmp_path_factory.mktemp("peta") / "peta"
    return prepare_peta(source, out), read_folder(out)


def test_labels_of_peta_mat_and_label_txt_are_the_same(peta: Peta) -> None:
    assert len(peta.files.images) == 19_000
    assert any("equals PETA.mat for 18,975 of 19,000 images; 25 have attributes" in note for note in peta.notes)
    assert any("every image" in note for note in peta.notes)


def test_the_evaluated_attributes_are_the_ones_that_the_file_selects(peta: Peta) -> None:
    assert peta.mat is not None
    assert peta.mat.evaluated == tuple(attribute.name for attribute in SCHEMA.evaluated)
    assert set(np.unique(peta.labels)) == {0, 1}


def test_persons_by_file_name_are_the_persons_of_peta_mat(peta: Peta) -> None:
    assert peta.mat is not None
    pairs = set(zip(peta.persons.tolist(), peta.mat.persons.tolist(), strict=True))
    assert len(pairs) == len(set(peta.persons.tolist())) == len(set(peta.mat.persons.tolist())) == 8_699


@pytest.mark.parametrize(("number", "males"), [(0, 4147), (1, 4166), (2, 4172), (3, 4160), (4, 4158)])
def test_every_official_partition_has_the_published_counts(peta: Peta, number: int, males: int) -> None:
    splits, published = peta_splits(peta, f"official:{number}")
    counts = {name: int((splits == name).sum()) for name in ("train", "val", "test")}
    assert counts == published == {"train": 9_500, "val": 1_900, "test": 7_600}
    assert peta.labels[splits == "test", 16].sum() == males


def test_persons_shared_between_train_and_test(peta: Peta) -> None:
    for number, images in ((0, 4_385), (4, 4_471)):
        splits, _ = peta_splits(peta, f"official:{number}")
        found = shared_persons(peta.persons, np.flatnonzero(splits != "test"), np.flatnonzero(splits == "test"))
        assert found[2] == images
        if number == 0:
            assert found[:2] == (1_106, 4_110)


def test_the_identity_split_shares_nobody_and_keeps_the_shares(peta: Peta) -> None:
    splits, published = peta_splits(peta, "identity")
    assert published is None
    train, test = np.flatnonzero(splits != "test"), np.flatnonzero(splits == "test")
    assert shared_persons(peta.persons, train, test)[0] == 0
    assert shared_persons(peta.persons, np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val"))[0] == 0
    assert [int((splits == name).sum()) for name in ("train", "val", "test")] == [9_500, 1_900, 7_600]


def test_groups_are_no_partition_of_the_images(peta: Peta) -> None:
    splits, _ = peta_splits(peta, "official:0")
    texts = SCHEMA.texts(complements=True)
    targets, known = text_targets(peta.labels[splits == "test"], SCHEMA, texts)
    assert known.all()
    none = {text.phrase: int(targets[:, row].sum()) for row, text in enumerate(texts) if text.attribute is None}
    assert none["under 16 years old"] == 89
    assert none["some other kind of footwear"] == 794
    assert none["neither casual nor formal upper clothes"] == 98
    assert none["neither casual nor formal lower clothes"] == 11


def test_preparing_decodes_every_image_and_warns_of_what_one_must_know(
    prepared: tuple[PrepareReport, DatasetFolder],
) -> None:
    report, folder = prepared
    assert (report.images, report.attributes, report.evaluated) == (19_000, 105, 35)
    assert report.counts == report.published == folder.counts
    text = "\n".join(report.warnings)
    assert "1,106 of 4,110 persons in test, with 4,385 of 7,600 test images" in text
    assert "upperBodyVNeck" in text
    assert "1 image with none of the evaluated attributes" in text
    assert "unreadable" not in text


def test_the_prepared_folder_holds_the_same_labels(prepared: tuple[PrepareReport, DatasetFolder], peta: Peta) -> None:
    folder = prepared[1]
    assert np.array_equal(folder.labels, peta.labels)
    assert folder.images == peta.files.images
    assert folder.persons.tolist() == peta.persons.tolist()
    assert len(folder.select("trainval")) == 11_400
    assert folder.image_path(18_999).is_file()


def test_label_txt_alone_gives_the_same_labels(source: Path, peta: Peta, tmp_path: Path) -> None:
    (tmp_path / "PETA dataset").symlink_to(source / "PETA dataset")
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    for entry in (source / "PETA dataset").iterdir():
        (lonely / entry.name).symlink_to(entry)
    alone = read_peta(lonely, SCHEMA)
    assert alone.mat is None
    assert np.array_equal(alone.labels, peta.labels)
    assert alone.persons.tolist() == peta.persons.tolist()
    assert peta_splits(alone, "identity")[0].tolist() == peta_splits(peta, "identity")[0].tolist()
