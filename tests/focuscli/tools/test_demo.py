"""The embedded default learns, and its attention lies on the right body region: the demo itself, run once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focuscli.data.folder import read_folder
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.demo import HOME_STYLE, OTHER_STYLE, Demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The finished demo: what FOCUS_DEMO_FOLDER names (`.ci/run` has just made it), else run here."""
    made = os.environ.get("FOCUS_DEMO_FOLDER")
    if made:
        return Demo(Path(made))
    demo = Demo(tmp_path_factory.mktemp("demo"))
    for style in (HOME_STYLE, OTHER_STYLE):
        demo.generate(style)
    for _ in demo.open_run().train():
        pass
    return demo


def mass_on(demo, phrase, name, regions):
    """Over test images that show an attribute: the share of its map's mass in the box around some body regions, and the
    same share of an even map (the box's part of the image)."""
    dataset = read_folder(demo.folder / f"synthetic-{HOME_STYLE}")
    entries = [json.loads(line) for line in (dataset.path / "boxes.jsonl").read_text().splitlines()]
    boxes = {entry["image"]: entry["boxes"] for entry in entries}
    test = [i for i in dataset.select("test") if dataset.labels[i, dataset.schema.index(name)] == 1][:60]
    paths = [dataset.image_path(int(i)) for i in test]
    heat = Recognizer.from_checkpoint(demo.folder / "run", device="cpu").attention(paths, [phrase]).heat[:, 0]
    inside, even = [], []
    for index, path, values in zip(test, paths, heat, strict=True):
        with Image.open(path) as image:
            size = image.size
        corners = np.array([boxes[dataset.images[index]][region] for region in regions])
        x0, y0, x1, y1 = np.rint([*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)]).astype(int)
        mass = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.NEAREST))
        inside.append(mass[max(y0, 0) : y1, max(x0, 0) : x1].sum() / mass.sum())
        even.append(mass[max(y0, 0) : y1, max(x0, 0) : x1].size / mass.size)
    return float(np.mean(inside)), float(np.mean(even))


def test_it_learns(demo):
    home = demo.evaluate(HOME_STYLE)
    assert home.metrics["mA"] >= 0.85
    assert home.weights == "from scratch"
    other = demo.evaluate(OTHER_STYLE)
    assert 0.5 < other.metrics["mA"] < home.metrics["mA"]
    assert any("another domain" in note for note in other.notes)


@pytest.mark.parametrize(
    ("phrase", "name", "regions"), [("hat", "Hat", ("head",)), ("trousers", "Trousers", ("lower", "foot"))]
)
def test_the_map_lies_on_the_body_region(demo, phrase, name, regions):
    """Most of the mass, and clearly more than the region's part of the image."""
    mass, even = mass_on(demo, phrase, name, regions)
    assert mass > 0.5, (mass, even)
    assert mass > 1.5 * even, (mass, even)


def test_what_it_leaves_behind(demo):
    predictions, *pictures = demo.explain()
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300
    assert len(predictions) == 4
    assert all(set(line["scores"]) >= {"hat", "trousers"} for line in predictions)
    assert any(line["unseen"] for line in predictions)
