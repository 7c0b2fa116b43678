"""A drawn dataset as a folder."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic import STYLES, draw, labels_of, prepare_synthetic, read_boxes
from focuscli.data.synthetic.generate import cast_of
from focuscli.errors import InputError, UsageError

OFFICIAL = [
    "Female",
    "AgeOver60",
    "Age18-60",
    "AgeLess18",
    "Front",
    "Side",
    "Back",
    "Hat",
    "Glasses",
    "HandBag",
    "ShoulderBag",
    "Backpack",
    "HoldObjectsInFront",
    "ShortSleeve",
    "LongSleeve",
    "UpperStride",
    "UpperLogo",
    "UpperPlaid",
    "UpperSplice",
    "LowerStripe",
    "LowerPattern",
    "LongCoat",
    "Trousers",
    "Shorts",
    "Skirt&Dress",
    "boots",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "street"
    prepare_synthetic(folder, images=120, seed=7)
    return folder


def test_the_schema_has_the_attributes_of_pa100k_in_their_order() -> None:
    schema = builtin_schema("synthetic")
    assert [attribute.name for attribute in schema.evaluated] == OFFICIAL
    assert {attribute.region for attribute in schema.attributes} == {"head", "upper", "lower", "foot", "bag", "whole"}
    assert all((attribute.region == "whole") == (attribute.subregion is not None) for attribute in schema.attributes)


def test_the_folder_can_be_read_and_says_what_was_drawn(drawn: Path) -> None:
    dataset = read_folder(drawn)
    assert len(dataset.images) == 120
    assert dataset.info["style"] == "street"
    assert dataset.labels[:, : len(OFFICIAL)].any(axis=0).all()
    for index, (name, person) in enumerate(cast_of(120, 7, "street")):
        labels = labels_of(person)
        assert dataset.labels[index].tolist() == [labels[attribute.name] for attribute in dataset.schema.attributes]
        assert dataset.persons[index] == name
    with Image.open(dataset.image_path(0)) as image:
        assert image.mode == "RGB"
        assert image.height > 1.5 * image.width, "a crop of somebody standing"


def test_no_person_is_in_two_splits(drawn: Path) -> None:
    dataset = read_folder(drawn)
    owners = {split: set(dataset.persons[dataset.select(split)].tolist()) for split in ("train", "val", "test")}
    assert not owners["train"] & owners["test"]
    assert not owners["train"] & owners["val"]
    assert not owners["val"] & owners["test"]
    assert dataset.counts["train"] == pytest.approx(72, abs=3)
    assert dataset.counts["val"] == pytest.approx(18, abs=3)


def test_boxes_go_with_the_images(drawn: Path) -> None:
    dataset, boxes = read_folder(drawn), read_boxes(drawn)
    assert [entry["image"] for entry in boxes] == list(dataset.images)
    carried = dataset.labels[:, [dataset.schema.index(name) for name in OFFICIAL[9:13]]].any(axis=1)
    assert [("bag" in entry["boxes"]) for entry in boxes] == carried.tolist()


def test_the_same_seed_gives_the_same_folder(drawn: Path, tmp_path: Path) -> None:
    prepare_synthetic(tmp_path / "again", images=120, seed=7)
    first, second = read_folder(drawn), read_folder(tmp_path / "again")
    assert first.fingerprint == second.fingerprint
    assert read_boxes(drawn) == read_boxes(tmp_path / "again")
    for index in (0, 60, 119):
        assert first.image_path(index).read_bytes() == second.image_path(index).read_bytes()


def test_another_style_draws_other_people_unless_asked(drawn: Path, tmp_path: Path) -> None:
    prepare_synthetic(tmp_path / "own", images=30, seed=7, style="night")
    prepare_synthetic(tmp_path / "same", images=30, seed=7, style="night", people="street")
    street, own, same = read_folder(drawn), read_folder(tmp_path / "own"), read_folder(tmp_path / "same")
    assert np.array_equal(same.labels, street.labels[:30])
    assert same.persons.tolist() == street.persons[:30].tolist()
    assert not np.array_equal(own.labels, street.labels[:30])
    assert not set(own.persons.tolist()) & set(street.persons.tolist())
    assert same.image_path(0).read_bytes() != street.image_path(0).read_bytes()


def test_an_encoded_image_is_the_drawing(drawn: Path) -> None:
    _, person = next(cast_of(120, 7, "street"))
    rng = np.random.default_rng([7, zlib.crc32(b"street"), 0])
    expected = np.asarray(draw(person, STYLES["street"], rng=rng).image, np.float64)
    with Image.open(read_folder(drawn).image_path(0)) as image:
        assert abs(np.asarray(image, np.float64) - expected).mean() < 6


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = prepare_synthetic(tmp_path / "small", images=20, size=(64, 32), progress=lambda *now: seen.append(now))
    assert seen == [(number, 20) for number in range(1, 21)]
    assert sum(report.counts.values()) == report.images == 20
    assert (report.attributes, report.evaluated) == (42, 26)


@pytest.mark.parametrize(
    "arguments", [{"style": "underwater"}, {"people": "martian"}, {"seed": -1}, {"images": 5}, {"size": (8, 8)}]
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        prepare_synthetic(tmp_path / "out", **({"images": 20} | arguments))  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out"
    prepare_synthetic(target, images=20, size=(64, 32))
    before = read_folder(target).fingerprint
    with pytest.raises(InputError, match="exists already"):
        prepare_synthetic(target, images=20, size=(64, 32), seed=1)
    assert read_folder(target).fingerprint == before
    prepare_synthetic(target, images=20, size=(64, 32), seed=1, overwrite=True)
    assert read_folder(target).fingerprint != before


@pytest.mark.parametrize(
    ("text", "message"), [("{\n", "line 1"), ('{"image": "a.jpg"}\n', "missing"), (None, "Cannot read")]
)
def test_damaged_boxes_name_the_place(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "boxes.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        read_boxes(tmp_path)
