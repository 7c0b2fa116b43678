"""PETA on disk: both layouts at any level, in PETA.mat's order, and Label.txt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.readers.peta_files import find_peta, parse_label_text, read_label_texts
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

SCHEMA = builtin_schema("peta")
NAMES = [attribute.name for attribute in SCHEMA.attributes]
FakePeta = Callable[..., Any]
MakeImage = Callable[..., None]


def test_subsets_and_files_come_in_the_order_of_peta_mat(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    files = find_peta(fake.root)
    assert list(files.images) == fake.images
    assert (files.subsets.tolist(), files.numbers.tolist()) == (fake.subsets, fake.numbers)
    assert files.mat == fake.root.parent / "PETA.mat"
    # byte order: neither natural order nor regardless of case
    stems = [Path(image).stem for image in files.images]
    assert stems.index("100_3_FRAME_26_RGB") < stems.index("12_1_FRAME_2_RGB") < stems.index("9_1_FRAME_1_RGB")
    assert stems.index("001_Right") < stems.index("001_back")


@pytest.mark.parametrize("start", ["PETA dataset", ".", "PETA.mat", ".."])
def test_the_folder_may_be_given_at_any_level(fake_peta: FakePeta, start: str) -> None:
    fake = fake_peta()
    files = find_peta(fake.root.parent / start)
    assert files.images == tuple(fake.images)
    assert files.mat is not None


def test_suffixes_letter_case_and_other_files_do_not_matter(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    archive = fake.root / "VIPeR/archive"
    (archive / "000_45_1.bmp").rename(archive / "000_45_1.JPEG")
    (archive / "Thumbs.db").write_bytes(b"x")
    (archive / "._000_45_2.bmp").write_bytes(b"x")
    (fake.root / "GRID/archive").rename(fake.root / "spare")
    (fake.root / "GRID").rmdir()
    (fake.root / "spare").rename(fake.root / "grid")  # files right in the subset's folder
    files = find_peta(fake.root)
    assert len(files.images) == len(fake.images)
    assert "VIPeR/archive/000_45_1.JPEG" in files.images
    assert files.ignored == 2
    assert read_label_texts(files, SCHEMA)[0].tolist() == fake.labels.tolist()


@pytest.mark.parametrize("folder", ["images", "images/images", "."])
def test_the_numbered_layout(fake_peta: FakePeta, tmp_path: Path, folder: str) -> None:
    fake = fake_peta("numbered")
    if folder == "images/images":
        fake.root.rename(tmp_path / "inner")
        (tmp_path / "download/images").mkdir()
        (tmp_path / "inner").rename(tmp_path / "download/images/images")
    files = find_peta(tmp_path / "download/images" if folder == "." else tmp_path / "download")
    assert files.layout == "numbered"
    assert files.images == tuple(fake.images)
    assert files.mat == tmp_path / "download/PETA.mat"


def damage(fake: Any, make_image: MakeImage, kind: str) -> Path:
    """Damage a tree; returns the folder to give."""
    root = fake.root
    match kind:
        case "subsets lost":
            for name in ("MIT", "GRID"):
                (root / name).rename(root / f"old {name}")
        case "number lost":
            (root / "00003.png").unlink()
        case "number twice":
            make_image(root / "00003.jpg")
        case "stray image":
            make_image(root / "MIT/archive/copy.jpg")
        case "empty subset":
            for path in (root / "MIT/archive").iterdir():
                path.unlink()
        case "archive":
            (root / "PETA.zip").write_bytes(b"x")
            return root / "PETA.zip"
        case "elsewhere":
            (root.parent / "other").mkdir()
            return root.parent / "other"
        case "nowhere":
            return root / "nowhere"
    return root


@pytest.mark.parametrize(
    ("kind", "layout", "mat", "words"),
    [
        ("subsets lost", "subsets", True, "lacks 2 of PETA's ten subsets: GRID, MIT"),
        ("number lost", "numbered", True, "1 images are missing in .* 00003"),
        ("number twice", "numbered", True, "image 00003 twice"),
        ("none", "numbered", False, r"no PETA\.mat"),
        ("stray image", "subsets", True, r"copy\.jpg: PETA's image files begin with a number"),
        ("empty subset", "subsets", True, "MIT has no images"),
        ("elsewhere", "subsets", True, "is not PETA"),
        ("nowhere", "subsets", True, "No folder"),
        ("archive", "subsets", True, "unpack"),
    ],
)
def test_what_is_not_whole_is_refused(
    fake_peta: FakePeta, make_image: MakeImage, kind: str, layout: str, mat: bool, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        find_peta(damage(fake_peta(layout, mat=mat), make_image, kind))


def test_label_txt_covers_every_image(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    files = find_peta(fake.root)
    assert files.mat is None
    label_file = fake.root / "PRID/archive/Label.txt"
    label_file.write_text(label_file.read_text().replace("\n", " hatOfTin\n"))
    labels, has_excluded, notes = read_label_texts(files, SCHEMA)
    assert labels.tolist() == fake.labels.tolist()
    assert has_excluded.sum() >= 1
    assert notes[0].startswith("1 lines of Label.txt are about")
    assert notes[1].endswith("not attributes of PETA: hatOfTin (2)")
    lines = label_file.read_text().splitlines()
    for content, words in (
        (lines[0] + "\n\n  \n", "PRID.*has no line in"),
        ("x personalMale\n", 'line 1: "x" does not begin with a number'),
        (None, r"Cannot read .*Label\.txt"),
    ):
        label_file.unlink() if content is None else label_file.write_text(content)
        with pytest.raises(InputError, match=words):
            read_label_texts(files, SCHEMA)


@given(
    people=st.dictionaries(st.integers(0, 99_999), st.sets(st.sampled_from(NAMES)), max_size=8),
    width=st.integers(1, 5),
    suffix=st.sampled_from(["", ".png", "_1.jpg"]),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n", " \t\n"]),
)
def test_label_lines_come_back(people: dict[int, set[str]], width: int, suffix: str, line_end: str) -> None:
    lines = [" ".join([f"{key:0{width}}{suffix}", *sorted(words)]) for key, words in people.items()]
    assert parse_label_text(line_end.join([*lines, ""]), Path("Label.txt")) == people


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    begins = [line.split()[0][0] in "0123456789" for line in text.splitlines() if line.split()]
    if all(begins):
        assert len(parse_label_text(text, Path("Label.txt"))) <= len(begins)
        return
    with pytest.raises(InputError, match="does not begin with a number"):
        parse_label_text(text, Path("Label.txt"))
