"""Who is drawn: the attributes, colours, build and pose of one pedestrian, and how they are drawn by lot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from focuscli.data.synthetic.palette import (
    BAGS,
    BOOTS,
    CLOTHES,
    GREY_HAIR,
    HAIR,
    HATS,
    LOWER_COLOURS,
    SHOES,
    SKIN,
    UPPER_COLOURS,
    Colour,
    apart_from,
)

AGES = ("child", "adult", "old")
VIEWS = ("front", "side", "back")
HAT_KINDS = ("cap", "beanie", "brim")
GLASSES_KINDS = ("sun", "frame")
UPPER_PATTERNS = ("plain", "stripes", "logo", "plaid", "splice")
LOWER_KINDS = ("trousers", "shorts", "skirt", "dress")
LOWER_PATTERNS = ("plain", "stripe", "pattern")


@dataclass(frozen=True)
class Person:
    """One pedestrian in one pose. The first block stays the same over all pictures of a person, see `restage`.

    Attributes:
        female: drawn with a conventional outline (narrow shoulders, waist, hips), more often long hair and skirts.
        build: width of the body, about 0.88 (slim) to 1.15. height: of the person, 1 = average adult.
        hair: "short", "long" or "bald". hat, glasses: a kind, or "" for none.
        upper_colour, lower_colour: colour names of `palette.CLOTHES`; `upper_rgb`, `lower_rgb` are the shades.
        accent, lower_accent: the second colour of a pattern.
        coat: a long coat over trousers. handbag, shoulder_bag, backpack, object: what is carried.
        view: "front", "side" or "back". yaw: degrees, 0 = facing the camera, 90 = facing right, 180 = from behind.
        phase: of the walk in radians. stride: its length, 0 = standing.
    """

    female: bool
    age: str
    build: float
    height: float
    skin: Colour
    hair: str
    hair_rgb: Colour
    beard: bool
    hat: str
    hat_rgb: Colour
    glasses: str
    long_sleeve: bool
    upper_pattern: str
    upper_colour: str
    upper_rgb: Colour
    accent: Colour
    lower: str
    lower_pattern: str
    lower_colour: str
    lower_rgb: Colour
    lower_accent: Colour
    coat: bool
    boots: bool
    shoe_rgb: Colour
    handbag: bool
    shoulder_bag: bool
    backpack: bool
    object: str
    bag_rgb: Colour
    cane: bool
    variant: int
    view: str
    yaw: float
    phase: float
    stride: float


def sample_person(rng: np.random.Generator) -> Person:
    """Draw a person by lot, so that every label of the schema is true in about 8% of the pictures or more."""
    female = bool(rng.random() < 0.5)
    age = _choose(rng, AGES, (0.2, 0.58, 0.22))
    lower = _lower(rng, female, age)
    coat = lower == "trousers" and age != "child" and bool(rng.random() < 0.42)
    carried = _carried(rng, age == "old")
    clothes = _clothes(rng, lower, coat)
    if carried["shoulder_bag"] and clothes["upper_pattern"] == "logo":
        clothes["upper_pattern"] = "plain"  # the strap would hide the print
    skin = SKIN[rng.integers(len(SKIN))]
    boots = not coat and bool(rng.random() < {"shorts": 0.12, "skirt": 0.4, "dress": 0.4}.get(lower, 0.36))
    shoes = BOOTS if boots else SHOES
    old = age == "old"
    bag = apart_from((clothes["upper_rgb"], clothes["lower_rgb"]), BAGS, int(rng.integers(len(BAGS))), 230)
    hair_rgb = (GREY_HAIR if old else HAIR)[rng.integers(len(GREY_HAIR if old else HAIR))]
    return Person(
        female=female,
        age=age,
        build=float(np.clip(rng.normal(1.0, 0.07), 0.88, 1.15)),
        height=_height(rng, female, age),
        skin=skin,
        hair=_hair(rng, female, age),
        hair_rgb=hair_rgb,
        beard=not female and age != "child" and bool(rng.random() < 0.4),
        hat=_choose(rng, HAT_KINDS) if rng.random() < 0.3 else "",
        hat_rgb=apart_from((hair_rgb, skin), HATS, int(rng.integers(len(HATS))), 200),
        glasses=_choose(rng, GLASSES_KINDS) if rng.random() < 0.42 else "",
        **clothes,
        lower=lower,
        coat=coat,
        boots=boots,
        shoe_rgb=apart_from((clothes["lower_rgb"], skin), shoes, int(rng.integers(len(shoes))), 150),
        **carried,
        bag_rgb=bag,
        variant=int(rng.integers(1 << 16)),
        **_stage(rng, age),
    )


def restage(person: Person, rng: np.random.Generator) -> Person:
    """The same person in another picture: new view and pose, everything that is worn or carried as before."""
    return replace(person, **_stage(rng, person.age))


def _choose(rng: np.random.Generator, names: tuple[str, ...], weights: tuple[float, ...] | None = None) -> str:
    if weights is None:
        return names[rng.integers(len(names))]
    return names[int(np.searchsorted(np.cumsum(weights), rng.random() * sum(weights), side="right"))]


def _height(rng: np.random.Generator, female: bool, age: str) -> float:
    if age == "child":
        return float(rng.uniform(0.62, 0.76))
    return float(rng.uniform(0.93, 1.0)) - 0.03 * female - 0.03 * (age == "old")


def _hair(rng: np.random.Generator, female: bool, age: str) -> str:
    if female:
        return "long" if rng.random() < (0.45 if age == "old" else 0.8) else "short"
    if age != "child" and rng.random() < (0.35 if age == "old" else 0.1):
        return "bald"
    return "long" if rng.random() < 0.06 else "short"


def _lower(rng: np.random.Generator, female: bool, age: str) -> str:
    if female:
        return _choose(rng, LOWER_KINDS, (0.42, 0.12, 0.26, 0.2))
    shorts = {"child": 0.5, "adult": 0.33, "old": 0.2}[age]
    return _choose(rng, LOWER_KINDS, (1 - shorts, shorts, 0.0, 0.0))


def _clothes(rng: np.random.Generator, lower: str, coat: bool) -> dict[str, Any]:
    upper_colour = _choose(rng, UPPER_COLOURS)
    # Next to each other, a top and trousers of one colour would look like one piece.
    lower_colour = _choose(rng, tuple(name for name in LOWER_COLOURS if name != upper_colour))
    if lower == "dress":
        upper_colour = lower_colour = _choose(rng, tuple(name for name in UPPER_COLOURS if name in LOWER_COLOURS))
    upper_rgb = _shade(rng, upper_colour)
    lower_rgb = upper_rgb if lower == "dress" else _shade(rng, lower_colour)
    pattern = _choose(rng, UPPER_PATTERNS, (0.22, 0.19, 0.24, 0.18, 0.17))
    if lower == "dress":
        pattern = _choose(rng, ("plain", "stripes", "logo", "plaid"), (0.6, 0.1, 0.2, 0.1))
    if coat and pattern in ("stripes", "logo"):
        pattern = "plain"
    lower_pattern = _choose(rng, LOWER_PATTERNS, (0.58, 0.21, 0.21))
    if coat or (lower == "dress" and pattern in ("stripes", "plaid")):
        lower_pattern = "plain"
    accents = tuple(shade for name in ("White", "Yellow", "Black", "Red", "Blue") for shade in CLOTHES[name][:1])
    return {
        "long_sleeve": coat or bool(rng.random() < 0.44),
        "upper_pattern": pattern,
        "upper_colour": upper_colour,
        "upper_rgb": upper_rgb,
        "accent": apart_from((upper_rgb, lower_rgb), accents, int(rng.integers(len(accents))), 260),
        "lower_pattern": lower_pattern,
        "lower_colour": lower_colour,
        "lower_rgb": lower_rgb,
        "lower_accent": apart_from((lower_rgb,), accents, int(rng.integers(len(accents))), 330),
    }


def _shade(rng: np.random.Generator, name: str) -> Colour:
    shades = CLOTHES[name]
    return shades[rng.integers(len(shades))]


def _carried(rng: np.random.Generator, old: bool) -> dict[str, Any]:
    kind = _choose(rng, ("", "handbag", "shoulder_bag", "backpack", "object"), (0.2, 0.18, 0.19, 0.2, 0.23))
    also_handbag = kind == "backpack" and rng.random() < 0.15
    holds = kind == "object" or (kind == "backpack" and not also_handbag and rng.random() < 0.15)
    handbag = kind == "handbag" or also_handbag
    return {
        "handbag": handbag,
        "shoulder_bag": kind == "shoulder_bag",
        "backpack": kind == "backpack",
        "object": _choose(rng, ("box", "folder", "parcel")) if holds else "",
        "cane": old and not holds and bool(rng.random() < 0.7),
    }


def _stage(rng: np.random.Generator, age: str) -> dict[str, Any]:
    view = _choose(rng, VIEWS, (0.4, 0.3, 0.3))
    turn = float(rng.uniform(-16, 16))
    right = 1 if rng.random() < 0.5 else -1
    yaw = {"front": turn, "side": right * (90 + 0.7 * turn), "back": 180 + turn}[view]
    walking = rng.random() < 0.75
    length = {"child": 0.9, "adult": 1.0, "old": 0.6}[age]
    return {
        "view": view,
        "yaw": yaw,
        "phase": float(rng.uniform(0, 2 * math.pi)),
        "stride": float(rng.uniform(0.6, 1.0)) * length if walking else 0.12,
    }
