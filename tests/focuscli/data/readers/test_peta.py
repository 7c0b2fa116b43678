"""PETA: both layouts, both sources of labels, the splits, and what must not pass unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.readers.peta import parse_label_text, read_peta
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError, UsageError

NAMES = [attribute.name for attribute in builtin_schema("peta").attributes]


def number(fake: Any) -> Path:
    """The same images in layout "numbered"."""
    folder = fake.root.parent / "images"
    folder.mkdir()
    for row, image in enumerate(fake.images, start=1):
        (fake.root / image).rename(folder / f"{row:05}.png")
    shutil.rmtree(fake.root)
    return folder


@pytest.mark.parametrize("start", ["PETA dataset", ".", "PETA.mat", ".."])
def test_the_authors_layout_from_any_level(fake_peta: Any, start: str) -> None:
    found = read_peta(fake_peta.root.parent / start)
    assert [*found.images] == fake_peta.images
    assert found.labels.tolist() == fake_peta.labels.tolist()
    for part, rows in fake_peta.partition.items():
        assert np.flatnonzero(found.splits == part).tolist() == rows.tolist()
    assert found.persons[:4].tolist() == ["3DPeS/100", "3DPeS/100", "3DPeS/12", "3DPeS/9"]
    assert found.published == {"train": 9500, "val": 1900, "test": 7600}
    assert found.splits.tolist() == read_peta(fake_peta.root, split="official").splits.tolist()


def test_layouts_and_sources_of_labels_agree(fake_peta: Any) -> None:
    archive = fake_peta.root / "VIPeR/archive"
    (archive / "Thumbs.db").write_bytes(b"x")
    (archive / "._000_45_2.bmp").write_bytes(b"x")
    with_mat = read_peta(fake_peta.root, split="identity")
    (fake_peta.root.parent / "PETA.mat").rename(fake_peta.root.parents[1] / "PETA.mat")
    texts = read_peta(fake_peta.root, split="identity")
    assert "labels from Label.txt" in texts.notes
    assert any(note.endswith("does not have: lowerBodyLogo") for note in texts.notes)
    for split in ("official:0", "paper"):
        with pytest.raises(InputError, match=r"There is no PETA\.mat in .* or beside it"):
            read_peta(fake_peta.root, split=split)
    images = number(fake_peta)
    with pytest.raises(InputError, match=r"There is no PETA\.mat in .* or beside it"):
        read_peta(images, split="identity")
    (fake_peta.root.parents[1] / "PETA.mat").rename(fake_peta.root.parent / "PETA.mat")
    for start in (images, images.parent, images.parents[1]):
        numbered = read_peta(start, split="identity")
        assert numbered.images == [f"{row:05}.png" for row in range(1, len(fake_peta.images) + 1)]
        for other in (with_mat, texts):
            for field in ("labels", "persons", "splits"):
                assert np.array_equal(getattr(numbered, field), getattr(other, field)), field
    for person in set(numbered.persons):
        assert len(set(numbered.splits[numbered.persons == person])) == 1


def test_splits_of_our_own(fake_peta: Any) -> None:
    paper = read_peta(fake_peta.root, split="paper")
    assert paper.published == {"train": 7600, "test": 1900, "unused": 9500}
    for name, part in (("train", "test"), ("test", "val"), ("unused", "train")):
        assert np.flatnonzero(paper.splits == name).tolist() == fake_peta.partition[part].tolist()
    sites = read_peta(fake_peta.root, split="subset:viper, GRID")
    assert np.array_equal(sites.splits == "test", [subset in (4, 10) for subset, _ in fake_peta.owners])
    assert set(sites.splits.tolist()) == {"train", "val", "test"}
    assert sites.published is None
    for found in (paper, sites, read_peta(fake_peta.root, split="identity")):
        assert any("compares with no published row" in text for text in found.warnings)


def unlink(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def labels(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "Label.txt").write_text(text)


DAMAGE: list[tuple[str, Callable[[Path], object], bool, str]] = [
    ("TownCentre", unlink("0_8.jpg"), True, r"The 31 images .* are not the 32 of .*look at TownCentre"),
    ("VIPeR", unlink("806_0_1.bmp"), True, "The 31 images in .* are not the 32"),
    ("PRID", lambda folder: (folder / "0001_b.png").rename(folder / "0500_b.png"), True, "The 32 images in .* are not"),
    ("MIT", lambda folder: folder.parent.rename(folder.parent.with_name("old")), True, "subset MIT has no images"),
    ("MIT", lambda folder: (folder / "extra.png").touch(), True, r"extra\.png is no image of PETA"),
    ("MIT", lambda folder: (folder / "extra.png").touch(), False, r"extra\.png is no image of PETA"),
    ("PRID", labels("709 personalMale\n"), False, "no line for PRID/archive/0001_a.png"),
    ("PRID", labels("x hat"), False, 'the line "x hat" does not begin with a number'),
    ("PRID", unlink("Label.txt"), False, r"There is no file .*Label\.txt"),
]


@pytest.mark.parametrize(("subset", "damage", "mat", "words"), DAMAGE)
def test_what_is_not_whole_is_refused(fake_peta: Any, subset: str, damage: Any, mat: bool, words: str) -> None:
    damage(fake_peta.root / subset / "archive")
    if not mat:
        (fake_peta.root.parent / "PETA.mat").unlink()
    with pytest.raises(InputError, match=words):
        read_peta(fake_peta.root, split="official:0" if mat else "identity")


def test_numbered_images_must_be_all_there_once(fake_peta: Any, tmp_path: Path) -> None:
    folder = number(fake_peta)
    (folder / "00003.png").rename(folder / "00002.jpg")
    with pytest.raises(InputError, match=r"before 00002\.png is missing or there twice"):
        read_peta(folder)
    (folder / "00002.jpg").unlink()
    with pytest.raises(InputError, match=r"before 00004\.png is missing or there twice"):
        read_peta(folder)
    (tmp_path / "empty").mkdir()
    for start, words in (("empty", "is not PETA"), ("nowhere", "There is no folder")):
        with pytest.raises(InputError, match=words):
            read_peta(tmp_path / start)
    with pytest.raises(UsageError, match="found by their place"):
        read_peta(folder, images=folder)


@given(
    people=st.dictionaries(st.integers(0, 99_999), st.sets(st.sampled_from(NAMES)), max_size=8),
    width=st.integers(1, 5),
    suffix=st.sampled_from(["", ".png", "_1.jpg"]),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n", " \t\n"]),
)
def test_label_lines_come_back(people: dict[int, set[str]], width: int, suffix: str, line_end: str) -> None:
    lines = [" ".join([f"{key:0{width}}{suffix}", *sorted(words)]) for key, words in people.items()]
    assert parse_label_text(line_end.join([*lines, ""])) == people
