"""Who is sampled, which labels are true of them, and that what is labelled is drawn where its box says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import STYLES, Style, draw
from focuscli.data.synthetic.people import Person, labels_of, sample_people, sample_person

# No noise, no blur and one background, so that any difference comes from the person; nothing is cropped away.
CLEAN = Style(outdoors=False, shift=0.0, blur=(0.0, 0.0), noise=(0.0, 0.0), margin=9.0)
YAW = {"front": 0.0, "side": 90.0, "back": 180.0}


def plain(view: str = "front", **changes: Any) -> Person:
    """An adult without anything remarkable."""
    base: dict[str, Any] = {
        "female": False, "age": "adult", "hair": "short", "hat": False, "glasses": "", "long_sleeve": True,
        "upper_pattern": "plain", "upper_rgb": (42, 88, 172), "accent": (240, 198, 52), "lower": "trousers",
        "lower_pattern": "plain", "lower_rgb": (34, 34, 38), "coat": False, "boots": False, "shoe_rgb": (226, 226, 224),
        "handbag": False, "shoulder_bag": False, "backpack": False, "object": "", "bag_rgb": (198, 44, 52),
        "stride": 0.25, "build": 1.0, "height": 0.97, "hat_rgb": (198, 36, 42),
    }  # fmt: skip
    person = sample_person(np.random.default_rng(0))
    return replace(person, **(base | {"view": view, "yaw": YAW[view]} | changes))


class Drawing(NamedTuple):
    image: Image.Image
    boxes: dict[str, tuple[float, float, float, float]]


def drawn(person: Person, style: Style = CLEAN, seed: int = 3) -> Drawing:
    return Drawing(*draw(person, style, rng=np.random.default_rng(seed)))


def difference(first: Drawing, second: Drawing) -> np.ndarray:
    """[H, W] whether a pixel differs visibly."""
    pair = [np.asarray(drawing.image, np.int16) for drawing in (first, second)]
    return abs(pair[0] - pair[1]).max(axis=2) > 24


def share_inside(changed: np.ndarray, *boxes: tuple[float, float, float, float]) -> float:
    """How much of a change lies in the box around boxes, with one pixel of tolerance for soft edges."""
    left, top = (min(box[side] for box in boxes) - 1 for side in (0, 1))
    right, bottom = (max(box[side] for box in boxes) + 1 for side in (2, 3))
    ys, xs = np.nonzero(changed)
    return float(((xs >= left) & (xs <= right) & (ys >= top) & (ys <= bottom)).mean())


@pytest.mark.parametrize("view", ["front", "side", "back"])
@pytest.mark.parametrize(
    ("change", "region", "least"),
    [
        ({"hat": True}, "head", 150),
        ({"hair": "long"}, "head", 80),
        ({"glasses": "sun"}, "head", 25),
        ({"glasses": "clear"}, "head", 20),
        ({"long_sleeve": False}, "upper", 120),
        ({"upper_pattern": "stripes"}, "upper", 700),
        ({"upper_pattern": "plaid"}, "upper", 500),
        ({"upper_pattern": "splice"}, "upper", 400),
        ({"upper_pattern": "logo"}, "upper", 200),
        ({"lower": "shorts"}, "lower", 300),
        ({"lower": "skirt"}, "lower", 400),
        ({"lower_pattern": "stripes"}, "lower", 200),
        ({"lower_pattern": "dots"}, "lower", 200),
        ({"boots": True}, "foot", 200),
        ({"handbag": True}, "bag", 150),
        ({"shoulder_bag": True}, "bag", 150),
        ({"backpack": True}, "bag", 200),
        ({"object": "box"}, "bag", 200),
    ],
)
def test_an_attribute_changes_its_region(view: str, change: dict[str, Any], region: str, least: int) -> None:
    unseen = {("back", "glasses"), ("back", "object"), ("side", "upper_pattern logo")}
    (name, value), *_ = change.items()
    without, with_it = drawn(plain(view)), drawn(plain(view, **change))
    changed = difference(without, with_it)
    if (view, name) in unseen or (view, f"{name} {value}") in unseen:
        assert not changed.any(), "what is not labelled must not be drawn"
        return
    assert changed.sum() >= least
    boxes = [drawing.boxes[region] for drawing in (without, with_it) if region in drawing.boxes]
    wanted = 0.95 if name not in ("object", "handbag", "shoulder_bag") else 0.4  # these move the arms too
    assert share_inside(changed, *boxes) >= wanted


def test_coats_cover_the_thighs_and_children_are_smaller_with_larger_heads() -> None:
    adult, coat, child = drawn(plain()), drawn(plain(coat=True)), drawn(plain(age="child", height=0.7))
    top = int(coat.boxes["lower"][1])
    assert difference(adult, coat)[top + 25 : top + 60, 54:74].mean() > 0.7
    tall, head = ([d.boxes[name][3] - d.boxes[name][1] for d in (adult, child)] for name in ("whole", "head"))
    assert tall[1] < 0.8 * tall[0]
    assert head[1] / tall[1] > 1.25 * head[0] / tall[0]


@pytest.mark.parametrize("style", STYLES)
def test_boxes_lie_in_the_image_from_head_to_foot(style: str) -> None:
    rng = np.random.default_rng(1)
    colours = np.asarray(drawn(plain(), STYLES[style]).image).mean(axis=(0, 1))
    assert (colours.sum() < 260 and colours[2] > 1.6 * colours[0]) == (style == "night")  # dark and bluish
    for seed in range(15):
        person = sample_person(rng)
        drawing = drawn(person, STYLES[style], seed)
        boxes, (width, height) = drawing.boxes, drawing.image.size
        assert all(0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height for box in boxes.values())
        middles = [(boxes[name][1] + boxes[name][3]) / 2 for name in ("head", "upper", "lower", "foot")]
        assert middles == sorted(middles)
        seen = person.handbag or person.shoulder_bag or person.backpack or (person.object and person.view != "back")
        assert ("bag" in boxes) == bool(seen)
        whole = boxes["whole"]
        assert all(whole[0] <= box[0] and whole[1] <= box[1] and box[2] <= whole[2] for box in boxes.values())


def test_labels_are_frequent_exclusive_and_can_be_seen() -> None:
    images = sample_people(3000, np.random.default_rng(0))
    rows = [labels_of(person) for _, person in images]
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    schema = builtin_schema("synthetic")
    assert {attribute.name for attribute in schema.attributes} < set(table)
    rates = {attribute.name: table[attribute.name].mean() for attribute in schema.evaluated}
    assert min(rates.values()) > 0.09, rates
    assert max(rates.values()) < 0.7, rates
    assert min(values.mean() for values in table.values()) > 0.03, "every colour and detail occurs"
    for group, equal_to in (
        (("AgeOver60", "Age18-60", "AgeLess18"), 1),
        (("Front", "Side", "Back"), 1),
        (("ShortSleeve", "LongSleeve"), 1),
        (("Trousers", "Shorts", "Skirt", "Dress"), 1),
        (("Box", "Folder"), table["HoldObjectsInFront"]),
        (("FacingLeft", "FacingRight"), table["Side"]),
        (("Skirt", "Dress"), table["Skirt&Dress"]),
    ):
        assert (sum(table[name] for name in group) == equal_to).all(), group
    back, side, coat = (table[name] == 1 for name in ("Back", "Side", "LongCoat"))
    assert not table["Glasses"][back].any()
    assert not table["HoldObjectsInFront"][back].any()
    assert not table["UpperLogo"][side | (back & (table["Backpack"] == 1))].any()
    assert (table["Trousers"] & table["LongSleeve"])[coat].all()
    # A person changes only view and pose, in one to three images.
    for (number, person), (next_number, other) in pairwise(images[:300]):
        pose = {"view": other.view, "yaw": other.yaw, "stride": other.stride}
        assert (replace(person, **pose) == other) == (number == next_number)
    assert set(np.bincount([number for number, _ in images])[1:-1].tolist()) == {1, 2, 3}
