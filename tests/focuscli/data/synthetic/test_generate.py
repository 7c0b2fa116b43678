"""A synthetic dataset as a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import STYLES, prepare_synthetic, synthetic_images
from focuscli.data.synthetic.people import labels_of
from focuscli.errors import InputError, UsageError


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "street"
    seen: list[tuple[int, int]] = []
    report = prepare_synthetic(folder, images=40, seed=7, progress=lambda *now: seen.append(now))
    assert seen == [(number, 40) for number in range(1, 41)]
    assert sum(report.counts.values()) == report.images == 40
    assert (report.attributes, report.evaluated) == (42, 26)
    return folder


def test_the_evaluated_attributes_are_those_of_pa100k_in_their_order() -> None:
    schema = builtin_schema("synthetic")
    assert [a.name for a in schema.evaluated] == [a.name for a in builtin_schema("pa100k").attributes]
    assert {attribute.region for attribute in schema.attributes} == {"head", "upper", "lower", "foot", "bag", "whole"}
    assert all((attribute.region == "whole") == (attribute.subregion is not None) for attribute in schema.attributes)


def test_labels_boxes_and_pixels_are_those_of_the_images(street: Path) -> None:
    dataset = read_folder(street)
    boxes = [json.loads(line) for line in (street / "boxes.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in boxes] == list(dataset.images)
    assert dataset.info["style"] == "street"
    for index, sample in enumerate(synthetic_images(40, 7, "street")):
        labels = labels_of(sample.person)
        assert dataset.labels[index].tolist() == [labels[attribute.name] for attribute in dataset.schema.attributes]
        assert dataset.persons[index] == f"street-{sample.number:05}"
        assert boxes[index]["boxes"] == {region: list(box) for region, box in sample.drawing.boxes.items()}
        with Image.open(dataset.image_path(index)) as image:
            assert image.mode == "RGB"
            written, expected = (np.asarray(picture, np.float64) for picture in (image, sample.drawing.image))
            assert abs(written - expected).mean() < 10, "JPEG averages the noise of colours"


def test_no_person_is_in_two_splits(street: Path) -> None:
    dataset = read_folder(street)
    owners = [set(dataset.persons[dataset.select(split)].tolist()) for split in ("train", "val", "test")]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert dataset.counts["train"] == pytest.approx(24, abs=3)
    assert dataset.counts["val"] == pytest.approx(6, abs=3)


def test_the_same_seed_gives_the_same_bytes_in_another_process_and_another_style_other_people(
    street: Path, tmp_path: Path
) -> None:
    options = ("--images", "40", "--seed", "7", "--out", tmp_path / "again")
    subprocess.run([sys.executable, "-m", "focuscli", "prepare", "synthetic", *options], check=True)
    prepare_synthetic(tmp_path / "night", images=20, seed=7, style="night")
    first, night = read_folder(street), read_folder(tmp_path / "night")
    for file in ("schema.toml", "labels.csv", "boxes.jsonl", *first.images):
        assert (street / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert not np.array_equal(night.labels, first.labels[:20])


@pytest.mark.parametrize(("changes", "words"), [
    ({"style": "underwater"}, ", ".join(STYLES)),
    ({"seed": -1}, "seed is -1"),
    ({"images": 5}, "too few"),
])  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_synthetic(tmp_path / "out", **({"images": 20} | changes))  # type: ignore[arg-type]
    assert words in f"{caught.value.problem} {caught.value.hint}"
    assert not any(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out"
    prepare_synthetic(target, images=20)
    before = read_folder(target).fingerprint
    with pytest.raises(InputError, match="exists already"):
        prepare_synthetic(target, images=20, seed=1)
    assert read_folder(target).fingerprint == before
    prepare_synthetic(target, images=20, seed=1, overwrite=True)
    assert read_folder(target).fingerprint != before
