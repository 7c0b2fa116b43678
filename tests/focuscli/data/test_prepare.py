"""Preparing official downloads and tables: what is kept, refused, skipped and reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.data.images import load_image
from focuscli.data.prepare import prepare_csv, prepare_official
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.official import write_official
from focuscli.errors import InputError, UsageError

FakePeta = Callable[..., Any]
MakeImage = Callable[..., None]
IMAGES = {"pa100k": "release_data/release_data", "rapv1": "RAP_dataset"}


@pytest.mark.parametrize("layout", ["subsets", "numbered"])
def test_peta_becomes_a_folder_that_points_at_its_images(fake_peta: FakePeta, tmp_path: Path, layout: str) -> None:
    fake = fake_peta(layout)
    calls: list[tuple[int, int]] = []
    out = tmp_path / "out"
    report = prepare_official("peta", fake.root.parent, out, progress=lambda done, total: calls.append((done, total)))
    count = len(fake.images)
    folder = read_folder(out)
    assert folder.images == tuple(fake.images)
    assert folder.labels.tolist() == fake.labels.tolist()
    assert folder.root == fake.root.resolve()
    assert load_image(folder.image_path(0)).size == (12, 24)
    assert sorted(path.name for path in out.iterdir()) == ["labels.csv", "prepare.json", "schema.toml"]
    for split, rows in fake.partitions[0].items():
        assert folder.select(split).tolist() == rows.tolist()
    assert (report.path, report.name, report.images) == (out, "peta", count)
    assert (report.attributes, report.evaluated) == (105, 35)
    assert report.counts == folder.counts == folder.info["counts"]
    assert report.published == folder.info["published"] == {"train": 9500, "val": 1900, "test": 7600}
    assert folder.info["warnings"] == report.warnings
    assert (folder.info["layout"], folder.info["labels_from"]) == (layout, "PETA.mat")
    assert calls[-1] == (count, count)
    moved = fake_peta(layout, folder="elsewhere")
    prepare_official("peta", moved.root.parent, out, split="official:0", overwrite=True)
    assert read_folder(out).fingerprint == folder.fingerprint
    prepare_official("peta", moved.root.parent, out, split="identity", overwrite=True)
    assert read_folder(out).fingerprint != folder.fingerprint


def test_unusable_images_stop_it_or_are_skipped_and_listed(fake_peta: FakePeta, tmp_path: Path) -> None:
    fake = fake_peta()
    (fake.root / "MIT/archive/00001_male_back.jpg").write_bytes(b"")
    whole = fake.root / "GRID/archive/0001_1_25004_107.jpeg"
    whole.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(InputError) as caught:
        prepare_official("peta", fake.root, tmp_path / "out")
    for words in (f"2 of {len(fake.images)} images", "00001_male_back.jpg: the file is empty", "truncated after 300 b"):
        assert words in caught.value.problem
    assert not (tmp_path / "out").exists()

    report = prepare_official("peta", fake.root, tmp_path / "out", on_bad_image="skip")
    assert report.images == len(fake.images) - 2
    assert report.warnings[0].startswith("Skipped 2 unreadable images")
    folder = read_folder(tmp_path / "out")
    assert folder.info["skipped"] == 2
    kept = [row for row, image in enumerate(fake.images) if image in folder.images]
    assert folder.labels.tolist() == fake.labels[kept].tolist()
    for split, rows in fake.partitions[0].items():
        names = {fake.images[row] for row in rows}
        assert {folder.images[row] for row in folder.select(split)} == names & set(folder.images)
    assert folder.persons[-1] == "VIPeR/806"
    listed = (tmp_path / "out/skipped.csv").read_text().splitlines()
    assert listed[0] == "image,reason"
    assert listed[1].startswith("GRID/archive/0001_1_25004_107.jpeg,truncated")
    assert len(listed) == 3


def test_it_fails_before_the_long_work(fake_peta: FakePeta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_peta()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("images were checked")

    monkeypatch.setattr("focuscli.data.prepare.check_images", never)
    for name, split in (("peta", "none"), ("pa100k", "official:1"), ("rapv1", "official:5"), ("rapv2", "identity")):
        with pytest.raises(UsageError, match="Unknown split"):
            prepare_official(name, fake.root, tmp_path / "out", split=split)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/prepare.json").write_text("{}")
    with pytest.raises(InputError, match="exists already"):
        prepare_official("peta", fake.root, tmp_path / "there")
    with pytest.raises(InputError, match="is not a prepared dataset"):
        prepare_official("peta", fake.root, fake.root, overwrite=True)
    (fake.root.parent / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="holds the source"):
        prepare_official("peta", fake.root, fake.root.parent, overwrite=True)
    assert (fake.root / "MIT").is_dir()


@pytest.fixture(scope="module", params=IMAGES)
def official(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A download of PA-100K or RAPv1 with 30 images."""
    folder = tmp_path_factory.mktemp("download") / request.param
    write_official(request.param, folder, images=30, seed=4)
    return request.param, folder


def test_missing_images_are_refused_excluded_or_not_needed(official: tuple[str, Path], tmp_path: Path) -> None:
    kind, whole = official
    source = tmp_path / "copy"
    shutil.copytree(whole, source)
    names = sorted(os.listdir(source / IMAGES[kind]))
    report = prepare_official(kind, source, tmp_path / "whole")
    complete = read_folder(tmp_path / "whole")
    assert sorted(complete.images) == names
    assert complete.schema.attributes == builtin_schema(kind).attributes
    assert any("Published metrics do not compare" in warning for warning in report.warnings)

    for name in names[:3]:
        (source / IMAGES[kind] / name).unlink()
    with pytest.raises(InputError, match=rf"3 of 30 images of {kind} are missing") as caught:
        prepare_official(kind, source, tmp_path / "out")
    assert "--allow-missing" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    report = prepare_official(kind, source, tmp_path / "out", missing="allow")
    assert any(warning.startswith("3 of 30 images are missing and excluded") for warning in report.warnings)
    folder = read_folder(tmp_path / "out")
    assert sorted(folder.images) == names[3:]
    assert folder.info["missing"] == 3
    rows = [complete.images.index(name) for name in folder.images]
    assert np.array_equal(folder.labels, complete.labels[rows])
    assert folder.splits.tolist() == complete.splits[rows].tolist()

    shutil.rmtree(source / IMAGES[kind])
    with pytest.raises(InputError, match=f"None of the 30 images of {kind}") as caught:
        prepare_official(kind, source, tmp_path / "labels")
    assert "--labels-only" in str(caught.value.hint)
    prepare_official(kind, source, tmp_path / "labels", missing="labels-only")
    folder = read_folder(tmp_path / "labels")
    assert folder.labels_only
    assert folder.fingerprint == complete.fingerprint


TABLE = """image,person,Male,hand_bag,upperBodyVNeck
a.png,1,1,0,0
b.png,1,0,1,0
c.png,2,0,0,1
d.png,3,1,1,1
"""


def test_a_table_becomes_a_folder_with_a_guessed_schema(make_image: MakeImage, tmp_path: Path) -> None:
    for name in "abcd":
        make_image(tmp_path / f"mine/images/{name}.png")
    table = tmp_path / "mine/labels.csv"
    table.write_text(TABLE)
    report = prepare_csv(table, tmp_path / "shop")
    folder = read_folder(tmp_path / "shop")
    assert folder.schema.name == report.name == "shop"
    attributes = [(attribute.name, attribute.region, attribute.phrase) for attribute in folder.schema.attributes]
    assert attributes == [
        ("Male", "whole", "male"),
        ("hand_bag", "bag", "hand bag"),
        ("upperBodyVNeck", "upper", "upper body V neck"),
    ]
    assert folder.labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
    assert folder.persons.tolist() == ["1", "1", "2", "3"]
    assert folder.splits[0] == folder.splits[1]
    assert set(folder.splits) == {"train", "val", "test"}
    assert folder.root == table.parent / "images"
    assert (tmp_path / "shop/schema.toml").read_text().startswith("# Guessed from the names of the columns")
    assert any("guessed" in note for note in report.notes)
    for name in "abcd":
        (table.parent / f"images/{name}.png").write_bytes(b"")
    with pytest.raises(InputError, match="4 of 4 images"):
        prepare_csv(table, tmp_path / "other", on_bad_image="skip")
