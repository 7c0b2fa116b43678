"""Preparing official downloads and tables: what is kept, refused, skipped and reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.data.images import load_image
from focuscli.data.prepare import prepare
from focuscli.data.readers.peta import read_peta
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError


def test_peta_becomes_a_folder_that_points_at_its_images(fake_peta: Any, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = tmp_path / "out"
    prepared = prepare("peta", fake_peta.root.parent, out, progress=lambda *numbers: calls.append(numbers))
    folder, source = read_folder(out), read_peta(fake_peta.root)
    assert folder.images == tuple(fake_peta.images)
    assert folder.labels.tolist() == fake_peta.labels.tolist()
    assert folder.persons.tolist() == source.persons.tolist()
    assert folder.root == fake_peta.root.resolve()
    assert load_image(folder.image_path(0)).size == (12, 24)
    assert sorted(path.name for path in out.iterdir()) == ["labels.csv", "prepare.json", "schema.toml"]
    for split, rows in fake_peta.partition.items():
        assert folder.select(split).tolist() == rows.tolist()
    assert folder.info == prepared.info
    assert folder.counts == folder.info["counts"]
    assert folder.info["published"] == {"train": 9500, "val": 1900, "test": 7600}
    assert set(source.warnings) < set(folder.info["warnings"])
    count = len(folder.images)
    assert calls[-1] == (count, count)
    test = folder.splits == "test"
    seen = set(folder.persons[~test])
    shared, images = set(folder.persons[test]) & seen, sum(person in seen for person in folder.persons[test])
    text = "\n".join(folder.info["warnings"])
    assert (
        f"{len(shared)} of {len(set(folder.persons[test]))} known persons in test, with {images} of {test.sum()} "
        in text
    )
    assert "other sizes than the published ones" in text
    own = prepare("peta", fake_peta.root.parent, out, split="identity", overwrite=True)
    assert "persons in test" not in "\n".join(own.info["warnings"])
    assert own.fingerprint != folder.fingerprint == prepared.fingerprint


def test_unusable_images_stop_it_or_are_skipped_and_listed(fake_peta: Any, tmp_path: Path) -> None:
    bad = ["GRID/archive/0001_1_25004_107.jpeg", "MIT/archive/00001_male_back.jpg"]
    for image in bad:
        (fake_peta.root / image).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        prepare("peta", fake_peta.root, tmp_path / "out")
    for words in (f"2 of {len(fake_peta.images)} images", "00001_male_back.jpg: not an image file"):
        assert words in caught.value.problem
    assert not (tmp_path / "out").exists()
    prepare("peta", fake_peta.root, tmp_path / "out", on_bad_image="skip")
    folder = read_folder(tmp_path / "out")
    kept = [row for row, image in enumerate(fake_peta.images) if image not in bad]
    assert folder.images == tuple(fake_peta.images[row] for row in kept)
    assert folder.labels.tolist() == fake_peta.labels[kept].tolist()
    for split, rows in fake_peta.partition.items():
        assert {folder.images[row] for row in folder.select(split)} == {fake_peta.images[row] for row in rows} - {*bad}
    assert folder.info["skipped"] == 2
    assert any(warning.startswith("Skipped 2 unreadable images") for warning in folder.info["warnings"])
    listed = (tmp_path / "out/skipped.csv").read_text().splitlines()
    assert listed[0] == "image,reason"
    assert [line.split(",")[0] for line in listed[1:]] == bad


def test_a_source_is_never_overwritten(fake_peta: Any) -> None:
    with pytest.raises(InputError, match="is not a prepared dataset"):
        prepare("peta", fake_peta.root, fake_peta.root, overwrite=True)
    (fake_peta.root.parent / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="exists already"):
        prepare("peta", fake_peta.root, fake_peta.root.parent)
    with pytest.raises(InputError, match="holds the source"):
        prepare("peta", fake_peta.root, fake_peta.root.parent, overwrite=True)
    assert (fake_peta.root / "MIT").is_dir()


@pytest.mark.parametrize(("kind", "images"), [("pa100k", "release_data/release_data"), ("rapv1", "RAP_dataset")])
def test_missing_images_are_refused_excluded_or_not_needed(
    download: Callable[[str], Path], tmp_path: Path, kind: str, images: str
) -> None:
    source = download(kind)
    names = sorted(os.listdir(source / images))
    prepare(kind, source, tmp_path / "whole")
    complete = read_folder(tmp_path / "whole")
    assert sorted(complete.images) == names
    assert complete.schema.attributes == builtin_schema(kind).attributes
    text = "\n".join(complete.info["warnings"])
    assert ("labels are uncertain (value 2; Female)" in text) == (kind == "rapv1")
    assert ("No persons are known" in text) == (kind == "pa100k")
    for name in names[:3]:
        (source / images / name).unlink()
    with pytest.raises(InputError, match=rf"3 of 30 images of {kind} are missing") as caught:
        prepare(kind, source, tmp_path / "out")
    assert "--allow-missing" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    folder = prepare(kind, source, tmp_path / "out", missing="allow")
    assert f"3 of 30 images of {kind} are missing and excluded." in folder.info["warnings"]
    assert sorted(folder.images) == names[3:]
    assert folder.info["missing"] == 3
    rows = [complete.images.index(name) for name in folder.images]
    assert np.array_equal(folder.labels, complete.labels[rows])
    assert folder.splits.tolist() == complete.splits[rows].tolist()
    (source / images).rename(source / "elsewhere")
    with pytest.raises(InputError, match=f"30 of 30 images of {kind}") as caught:
        prepare(kind, source, tmp_path / "labels", missing="allow")
    assert "--labels-only" in str(caught.value.hint)
    prepare(kind, source, tmp_path / "labels", missing="labels-only")
    folder = read_folder(tmp_path / "labels")
    assert folder.labels_only
    assert folder.fingerprint == complete.fingerprint


TABLE = """image,split,person,Male,hand_bag,upperBodyVNeck
a.png,train,1,1,0,0
b.png,train,1,0,1,0
c.png,val,2,0,0,0
d.png,test,1,1,1,1
"""


def test_a_table_becomes_a_folder_with_a_guessed_schema(make_image: Callable[[Path], None], tmp_path: Path) -> None:
    for name in "abcd":
        make_image(tmp_path / f"mine/images/{name}.png")
    table = tmp_path / "mine/labels.csv"
    table.write_text(TABLE)
    prepare("csv", table, tmp_path / "shop")
    folder = read_folder(tmp_path / "shop")
    assert folder.schema.name == "shop"
    attributes = [(attribute.name, attribute.region, attribute.phrase) for attribute in folder.schema.attributes]
    assert attributes == [
        ("Male", "whole", "male"),
        ("hand_bag", "bag", "hand bag"),
        ("upperBodyVNeck", "upper", "upper body V neck"),
    ]
    assert folder.labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert folder.persons.tolist() == ["1", "1", "2", "1"]
    assert folder.root == table.parent / "images"
    assert (tmp_path / "shop/schema.toml").read_text().startswith("# Guessed from the names of the columns")
    assert any("guessed" in note for note in folder.info["notes"])
    assert folder.info["warnings"] == [
        "1 of 1 known persons in test, with 1 of 1 test images, are also in train or val.",
        "Rare in train (under 2%), so that their metrics vary a lot between runs: upperBodyVNeck 0.0 %.",
    ]
    (table.parent / "images/b.png").unlink()
    with pytest.raises(InputError, match=r"1 of 4 images .*b\.png: No such file"):
        prepare("csv", table, tmp_path / "other")
    for name in "acd":
        (table.parent / f"images/{name}.png").write_bytes(b"")
    with pytest.raises(InputError, match="4 of 4 images"):
        prepare("csv", table, tmp_path / "other", on_bad_image="skip")
