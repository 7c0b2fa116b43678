from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from focuscli.data.readers.peta_files import SUBSETS, find_peta, person_number, read_label_texts
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

SCHEMA = builtin_schema("peta")
FakePeta = Callable[..., Any]
MakeImage = Callable[..., None]


def test_subsets_and_files_come_in_the_order_of_peta_mat(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    files = find_peta(fake.root)
    assert files.layout == "subsets"
    assert files.root == fake.root
    assert list(files.images) == fake.images
    assert files.subsets.tolist() == fake.subsets
    assert files.numbers.tolist() == fake.numbers
    assert files.mat == fake.root.parent / "PETA.mat"
    # byte order: neither natural order nor regardless of case
    stems = [Path(image).stem for image in files.images]
    assert stems.index("100_3_FRAME_26_RGB") < stems.index("12_1_FRAME_2_RGB") < stems.index("9_1_FRAME_1_RGB")
    assert stems.index("001_Right") < stems.index("001_back")
    assert [SUBSETS[4], SUBSETS[5]] == ["i-LID", "MIT"]


@pytest.mark.parametrize("start", ["PETA dataset", ".", "PETA.mat", ".."])
def test_the_folder_may_be_given_at_any_level(fake_peta: FakePeta, start: str) -> None:
    fake = fake_peta()
    assert find_peta(fake.root.parent / start).images == tuple(fake.images)
    assert find_peta(fake.root.parent / start).mat is not None


def test_labels_come_from_label_txt(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    files = find_peta(fake.root)
    assert files.mat is None
    texts = read_label_texts(files, SCHEMA)
    assert texts.labels.tolist() == fake.labels.tolist()
    assert texts.without_image == 1
    assert texts.has_excluded.sum() >= 1
    assert not texts.unknown


def test_suffixes_letter_case_and_other_files_do_not_matter(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    archive = fake.root / "VIPeR/archive"
    (archive / "000_45_1.bmp").rename(archive / "000_45_1.JPEG")
    (archive / "Thumbs.db").write_bytes(b"x")
    (archive / "._000_45_2.bmp").write_bytes(b"x")
    (archive / "Label.txt").rename(archive / "label.TXT")
    (archive / "label.TXT").rename(archive / "Label.txt")
    (fake.root / "GRID").rename(fake.root / "grid")
    (fake.root / "grid/archive").rename(fake.root / "spare")
    (fake.root / "grid").rmdir()
    (fake.root / "spare").rename(fake.root / "grid")  # files right in the subset's folder
    files = find_peta(fake.root)
    assert len(files.images) == len(fake.images)
    assert "VIPeR/archive/000_45_1.JPEG" in files.images
    assert files.ignored == 2
    assert read_label_texts(files, SCHEMA).labels.tolist() == fake.labels.tolist()


@pytest.mark.parametrize("folder", ["images", "images/images", "."])
def test_the_numbered_layout(fake_peta: FakePeta, tmp_path: Path, folder: str) -> None:
    fake = fake_peta("numbered")
    if folder == "images/images":
        fake.root.rename(tmp_path / "inner")
        (tmp_path / "download/images").mkdir()
        (tmp_path / "inner").rename(tmp_path / "download/images/images")
    start = tmp_path / "download/images" if folder == "." else tmp_path / "download"
    files = find_peta(start)
    assert files.layout == "numbered"
    assert files.images == tuple(fake.images)
    assert files.mat == tmp_path / "download/PETA.mat"


def test_missing_subsets_are_named(fake_peta: FakePeta) -> None:
    fake = fake_peta()
    for name in ("MIT", "GRID"):
        (fake.root / name).rename(fake.root / f"old {name}")
    with pytest.raises(InputError, match="lacks 2 of PETA's ten subsets: GRID, MIT"):
        find_peta(fake.root)


def test_missing_and_doubled_numbers_are_named(fake_peta: FakePeta, make_image: MakeImage) -> None:
    fake = fake_peta("numbered")
    (fake.root / "00003.png").unlink()
    with pytest.raises(InputError, match=r"1 images are missing .* 00003"):
        find_peta(fake.root.parent)
    make_image(fake.root / "00003.png")
    make_image(fake.root / "00003.jpg")
    with pytest.raises(InputError, match="image 00003 twice"):
        find_peta(fake.root.parent)


def test_the_numbered_layout_needs_peta_mat(fake_peta: FakePeta) -> None:
    fake = fake_peta("numbered", mat=False)
    with pytest.raises(InputError, match=r"no PETA\.mat"):
        find_peta(fake.root.parent)


def test_an_empty_subset_and_a_stray_image_are_refused(fake_peta: FakePeta, make_image: MakeImage) -> None:
    fake = fake_peta()
    make_image(fake.root / "MIT/archive/copy.jpg")
    with pytest.raises(InputError, match=r"copy\.jpg: PETA's image files begin with a number"):
        find_peta(fake.root)
    for path in (fake.root / "MIT/archive").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="MIT has no images"):
        find_peta(fake.root)


def test_what_is_not_peta_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not PETA"):
        find_peta(tmp_path)
    with pytest.raises(InputError, match="No folder"):
        find_peta(tmp_path / "nowhere")
    (tmp_path / "PETA.zip").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        find_peta(tmp_path / "PETA.zip")
    assert "unpack" in (caught.value.hint or "")


def test_label_txt_must_be_there_and_cover_every_image(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    label_file = fake.root / "PRID/archive/Label.txt"
    lines = label_file.read_text().splitlines()
    label_file.write_text("\n".join([*lines[:1], "", "  "]) + "\n")
    with pytest.raises(InputError, match=r"PRID.*has no line in"):
        read_label_texts(find_peta(fake.root), SCHEMA)
    label_file.write_text("x personalMale\n")
    with pytest.raises(InputError, match='line 1: "x" does not begin with a number'):
        read_label_texts(find_peta(fake.root), SCHEMA)
    label_file.unlink()
    with pytest.raises(InputError, match=r"Cannot read .*Label\.txt"):
        read_label_texts(find_peta(fake.root), SCHEMA)


def test_unknown_words_are_counted(fake_peta: FakePeta) -> None:
    fake = fake_peta(mat=False)
    label_file = fake.root / "PRID/archive/Label.txt"
    label_file.write_text(label_file.read_text().replace("\n", " hatOfTin\n"))
    texts = read_label_texts(find_peta(fake.root), SCHEMA)
    assert texts.unknown == {"hatOfTin": 2}
    assert texts.labels.tolist() == fake.labels.tolist()


@pytest.mark.parametrize(
    ("subset", "name", "number"),
    [
        ("3DPeS", "100_3_FRAME_26_RGB.bmp", 100),
        ("i-LID", "0057001.jpg", 57),
        ("i-LID", "0057_001.jpg", 57),
        ("MIT", "00924_male_back.jpg", 924),
        ("CUHK", "0606.png", 606),
        ("VIPeR", "000_45_1.bmp", 0),
        ("GRID", "copy.jpeg", None),
    ],
)
def test_the_person_is_at_the_head_of_the_file_name(subset: str, name: str, number: int | None) -> None:
    assert person_number(subset, name) == number
