"""Synthetic pedestrians: their attributes, colours and pose, how they are sampled, and which labels are true of them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Colour = tuple[int, int, int]
"""sRGB, 0 to 255."""
T = TypeVar("T")
_DATA = tomllib.loads((Path(__file__).parent / "people.toml").read_text(encoding="utf-8"))


def _colours(values: list[list[int]]) -> tuple[Colour, ...]:
    return tuple((red, green, blue) for red, green, blue in values)


CLOTHES, HAIR = ({name: _colours(shades) for name, shades in _DATA[key].items()} for key in ("clothes", "hair"))
SKIN, SHOES, BOOTS, BAGS, HATS = (_colours(_DATA[key]) for key in ("skin", "shoes", "boots", "bags", "hats"))
UPPER_COLOURS = ("Black", "White", "Grey", "Red", "Blue", "Green", "Yellow", "Pink")
LOWER_COLOURS = ("Black", "White", "Grey", "Blue", "Brown", "Red", "Green")
ACCENTS = tuple(CLOTHES[name][0] for name in ("White", "Yellow", "Black", "Red", "Blue"))


@dataclass(frozen=True)
class Person:
    """One person in one pose. Everything but the last three fields is the same in all images of a person.

    Attributes:
        female: drawn with a conventional outline (narrow shoulders, waist, hips), more often long hair and skirts.
        age: "child", "adult" or "old". build: width of the body, 0.88 (slim) to 1.15. height: 1 = a tall adult.
        hair: "short", "long" or "bald". hair_rgb: a colour in `HAIR`. glasses: "sun", "clear" or "" for none.
        upper_pattern: "plain", "stripes", "logo", "plaid" or "splice" (two colours).
        upper_rgb, lower_rgb: colours in `CLOTHES`. accent: the second colour of patterns.
        lower: "trousers", "shorts", "skirt" or "dress". lower_pattern: "plain", "stripes" or "dots".
        coat: a long coat over trousers. object: "box", "folder" or "", held in front with both hands.
        view: "front", "side" or "back". yaw: degrees, 0 = facing the camera, 90 = facing right, 180 = from behind.
        stride: which foot is in front and how far, -1 to 1; 0 = standing.
    """

    female: bool
    age: str
    build: float
    height: float
    skin: Colour
    hair: str
    hair_rgb: Colour
    hat: bool
    hat_rgb: Colour
    glasses: str
    long_sleeve: bool
    upper_pattern: str
    upper_rgb: Colour
    accent: Colour
    lower: str
    lower_pattern: str
    lower_rgb: Colour
    coat: bool
    boots: bool
    shoe_rgb: Colour
    handbag: bool
    shoulder_bag: bool
    backpack: bool
    object: str
    bag_rgb: Colour
    view: str
    yaw: float
    stride: float


def sample_person(rng: np.random.Generator) -> Person:
    """Sample a person so that every label of the schema is true in about 8% of the images or more."""
    p: dict[str, Any] = {}
    p["female"] = female = bool(rng.random() < 0.5)
    p["age"] = age = _choose(rng, child=0.2, adult=0.58, old=0.22)
    shorts = {"child": 0.5, "adult": 0.33, "old": 0.2}[age]
    men, women = (
        {"trousers": 1 - shorts, "shorts": shorts},
        {"trousers": 0.42, "shorts": 0.12, "skirt": 0.26, "dress": 0.2},
    )
    p["lower"] = lower = _choose(rng, **(women if female else men))
    p["coat"] = coat = lower == "trousers" and age != "child" and bool(rng.random() < 0.42)
    p["boots"] = boots = not coat and bool(rng.random() < {"shorts": 0.12, "trousers": 0.36}.get(lower, 0.4))

    upper_colour = _one_of(rng, UPPER_COLOURS)
    # A top and trousers of one colour would look like one piece.
    lower_colour = _one_of(rng, [name for name in LOWER_COLOURS if name != upper_colour])
    if lower == "dress":
        upper_colour = lower_colour = _one_of(rng, [name for name in UPPER_COLOURS if name in LOWER_COLOURS])
    p["upper_rgb"] = upper_rgb = _one_of(rng, CLOTHES[upper_colour])
    p["lower_rgb"] = lower_rgb = upper_rgb if lower == "dress" else _one_of(rng, CLOTHES[lower_colour])
    pattern = _choose(rng, plain=0.22, stripes=0.19, logo=0.24, plaid=0.18, splice=0.17)
    if lower == "dress":
        pattern = _choose(rng, plain=0.6, stripes=0.1, logo=0.2, plaid=0.1)
    if coat and pattern in ("stripes", "logo"):
        pattern = "plain"
    p["lower_pattern"] = _choose(rng, plain=0.58, stripes=0.21, dots=0.21)
    if coat or (lower == "dress" and pattern in ("stripes", "plaid")):
        p["lower_pattern"] = "plain"
    p["long_sleeve"] = coat or bool(rng.random() < 0.44)
    p["accent"] = _contrasting(rng, ACCENTS, upper_rgb, lower_rgb, least=260)

    kind = _choose(rng, nothing=0.2, handbag=0.18, shoulder_bag=0.19, backpack=0.2, object=0.23)
    carried = {kind, _choose(rng, nothing=0.7, handbag=0.15, object=0.15) if kind == "backpack" else ""}
    p |= {name: name in carried for name in ("handbag", "shoulder_bag", "backpack")}
    p["object"] = _choose(rng, box=0.6, folder=0.4) if "object" in carried else ""
    # The strap of a shoulder bag would hide a print.
    p["upper_pattern"] = "plain" if p["shoulder_bag"] and pattern == "logo" else pattern

    p["skin"] = skin = _one_of(rng, SKIN)
    if female:
        p["hair"] = _choose(rng, long=0.7, short=0.3)
    else:  # the old are not bald: their grey hair has to be seen
        p["hair"] = _choose(rng, bald=0.2 if age == "adult" else 0.0, long=0.06, short=0.74)
    hair_colour = "Grey" if age == "old" else _choose(rng, Black=0.2, Brown=0.5, Yellow=0.15, Red=0.15)
    p["hair_rgb"] = _one_of(rng, HAIR[hair_colour])
    p["build"] = float(np.clip(rng.normal(1.0, 0.07), 0.88, 1.15))
    p["height"] = float(rng.uniform(0.62, 0.76) if age == "child" else rng.uniform(0.93, 1.0) - 0.03 * female)
    p["hat"] = bool(rng.random() < 0.3)
    p["hat_rgb"] = _contrasting(rng, HATS, p["hair_rgb"], skin, least=200)
    p["glasses"] = _choose(rng, sun=0.5, clear=0.5) if rng.random() < 0.42 else ""
    p["shoe_rgb"] = _contrasting(rng, BOOTS if boots else SHOES, lower_rgb, skin, least=150)
    p["bag_rgb"] = _contrasting(rng, BAGS, upper_rgb, lower_rgb, p["accent"], least=230)
    return Person(**p, **_pose(rng, age))


def sample_people(count: int, rng: np.random.Generator) -> list[tuple[int, Person]]:
    """Sample who is in each of `count` images: a person's number, and the person in the view and pose of that image.

    Each person is in one to three consecutive images.
    """
    images: list[tuple[int, Person]] = []
    number = 0
    while len(images) < count:
        number += 1
        person = sample_person(rng)
        images.append((number, person))
        images += [(number, replace(person, **_pose(rng, person.age))) for _ in range(int(rng.integers(0, 3)))]
    return images[:count]


def _choose(rng: np.random.Generator, **weights: float) -> str:
    """One of the names, with a probability in proportion to its weight."""
    names, shares = list(weights), np.array(list(weights.values()))
    return names[int(np.searchsorted(shares.cumsum(), rng.random() * shares.sum(), side="right"))]


def _one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _contrasting(rng: np.random.Generator, colours: Sequence[Colour], *others: Colour, least: float) -> Colour:
    """A random colour that differs from all `others` by `least`; if there is none, the one that differs most."""
    order = rng.permutation(len(colours))
    difference = np.array(colours)[order, None] - np.array(others)  # [colours, others, 3]
    distance = np.sqrt(difference**2 @ (2, 4, 3)).min(axis=1)  # 0 to about 765: roughly how different they look
    return colours[order[np.minimum(distance, least).argmax()]]


def _pose(rng: np.random.Generator, age: str) -> dict[str, Any]:
    view = _choose(rng, front=0.4, side=0.3, back=0.3)
    turn = float(rng.uniform(-16, 16))
    direction = 1 if rng.random() < 0.5 else -1
    stride = float(rng.uniform(-1, 1)) * (0.6 if age == "old" else 1.0)
    yaw = {"front": turn, "side": direction * (90 + 0.7 * turn), "back": 180 + turn}[view]
    return {"view": view, "yaw": yaw, "stride": stride}


def labels_of(person: Person) -> dict[str, int]:
    """What can be seen: name -> 0 or 1, for the attributes of synthetic.toml and those of other datasets in official.toml.

    Glasses cannot be seen from behind, nor an object held in front. A logo is on chest and back; from the side it
    cannot be seen, nor on the back under a backpack.
    """
    front, side, back = (person.view == view for view in ("front", "side", "back"))
    bald = person.hair == "bald"
    true = {label: getattr(person, field) for field, label in _DATA["flags"].items()}
    for field, labels in _DATA["values"].items():
        true |= {label: getattr(person, field) == value for value, label in labels.items()}
    true |= {
        "ShortSleeve": not person.long_sleeve,
        "Sweater": person.long_sleeve and not person.coat and person.lower != "dress",
        "Skirt&Dress": person.lower in ("skirt", "dress"),
        "UpperLogo": person.upper_pattern == "logo" and (front or (back and not person.backpack)),
        "Glasses": bool(person.glasses) and not back,
        "Sunglasses": person.glasses == "sun" and not back,
        "HoldObjectsInFront": bool(person.object) and not back,
        "Box": person.object == "box" and not back,
        "Folder": person.object == "folder" and not back,
        "Bald": bald and not person.hat,
        "Slim": person.build < 0.93,
        "Stout": person.build > 1.07,
        "FacingLeft": side and person.yaw < 0,
        "FacingRight": side and person.yaw > 0,
    }
    true |= {f"{name}Hair": person.hair_rgb in HAIR[name] and not bald for name in HAIR}
    true |= {f"Upper{name}": person.upper_rgb in CLOTHES[name] for name in UPPER_COLOURS}
    true |= {f"Lower{name}": person.lower_rgb in CLOTHES[name] for name in LOWER_COLOURS}
    return {name: int(value) for name, value in true.items()}
