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
from focuscli.data.synthetic.generate import prepare_synthetic, synthetic_images
from focuscli.data.synthetic.people import labels_of


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "street"
    seen: list[tuple[int, int]] = []
    report = prepare_synthetic(folder, images=40, seed=7, progress=lambda *now: seen.append(now))
    assert seen == [(number, 40) for number in range(1, 41)]
    assert sum(report.counts.values()) == len(report.images) == 40
    assert (len(report.schema.attributes), len(report.schema.evaluated)) == (42, 26)
    return folder


def test_labels_boxes_and_pixels_are_those_of_the_images(street: Path) -> None:
    dataset = read_folder(street)
    boxes = [json.loads(line) for line in (street / "boxes.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in boxes] == list(dataset.images)
    assert dataset.info["style"] == "street"
    evaluated = [attribute.name for attribute in dataset.schema.evaluated]
    assert evaluated == [attribute.name for attribute in builtin_schema("pa100k").attributes]
    for index, sample in enumerate(synthetic_images(40, 7, "street")):
        labels = labels_of(sample.person)
        assert dataset.labels[index].tolist() == [labels[attribute.name] for attribute in dataset.schema.attributes]
        assert dataset.persons[index] == f"street-{sample.number:05}"
        assert boxes[index]["boxes"] == {region: list(box) for region, box in sample.boxes.items()}
        with Image.open(dataset.image_path(index)) as image:
            assert image.mode == "RGB"
            written, expected = (np.asarray(picture, np.float64) for picture in (image, sample.image))
            assert abs(written - expected).mean() < 10, "JPEG averages the noise of colours"
    owners = [set(dataset.persons[dataset.select(split)].tolist()) for split in ("train", "val", "test")]
    assert sum(map(len, owners)) == len(set.union(*owners)), "a person is in two splits"
    assert dataset.counts["train"] == pytest.approx(24, abs=3)


def test_a_seed_gives_the_same_bytes_in_another_process_and_other_people_in_another_style(street, tmp_path) -> None:
    options = ("--images", "40", "--seed", "7", "--out", tmp_path / "again")
    subprocess.run([sys.executable, "-m", "focuscli", "prepare", "synthetic", *options], check=True)
    prepare_synthetic(tmp_path / "night", images=20, seed=7, style="night")
    first, night = read_folder(street), read_folder(tmp_path / "night")
    for file in ("schema.toml", "labels.csv", "boxes.jsonl", *first.images):
        assert (street / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert not np.array_equal(night.labels, first.labels[:20])
