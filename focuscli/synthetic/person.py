"""A drawn person: what is worn and carried, in which colours and in which pose, and what of it a picture shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from focuscli.synthetic.brush import Colour

View = Literal["front", "side", "back"]
VIEWS: tuple[View, ...] = ("front", "side", "back")

SKINS: tuple[Colour, ...] = ((247, 212, 186), (232, 184, 150), (206, 152, 112), (158, 106, 72), (108, 72, 50))
HAIRS: tuple[Colour, ...] = ((34, 28, 28), (68, 44, 32), (110, 70, 40), (206, 164, 92), (148, 66, 34))
OLD_HAIRS: tuple[Colour, ...] = ((226, 226, 224), (190, 192, 194))
TOP_COLOURS: dict[str, Colour] = {
    "Red": (206, 48, 48),
    "Blue": (52, 96, 196),
    "Green": (54, 144, 80),
    "Yellow": (240, 200, 62),
    "Black": (50, 50, 56),
    "White": (242, 242, 240),
    "Grey": (148, 152, 158),
    "Purple": (136, 78, 168),
}
LOWER_COLOURS: dict[str, Colour] = {
    "Black": (46, 46, 52),
    "Blue": (62, 88, 148),
    "Grey": (128, 132, 138),
    "Brown": (126, 90, 60),
    "White": (232, 230, 224),
    "Red": (172, 52, 60),
}
SHOES: tuple[Colour, ...] = ((244, 244, 244), (60, 60, 66), (200, 60, 60), (70, 110, 190))
BOOTS: tuple[Colour, ...] = ((112, 68, 38), (40, 36, 36), (166, 112, 58))
BAGS: tuple[Colour, ...] = ((150, 76, 40), (198, 50, 76), (36, 120, 128), (232, 150, 44), (72, 62, 120), (60, 58, 58))
HATS: tuple[Colour, ...] = ((206, 50, 50), (40, 84, 168), (236, 190, 60), (60, 140, 84), (240, 238, 230), (128, 70, 150))
OBJECTS: tuple[Colour, ...] = ((198, 152, 98), (240, 236, 220), (88, 160, 200), (226, 110, 120))

SLEEVES = ("short", "long")
TOP_PATTERNS = ("plain", "stripes", "plaid", "logo", "splice")
LOWERS = ("trousers", "shorts", "skirt")
LOWER_PATTERNS = ("plain", "stripes", "spots")
HAT_KINDS = ("cap", "brim", "beanie")


@dataclass(frozen=True)
class Person:
    """Everything that decides how the figure looks; the figure is a function of it.

    Attributes:
        age: "child", "adult" or "old". build: width, about 0.9 to 1.1. height: of its age's usual height, about 1.
        hair: "short" or "long". hat: one of `HAT_KINDS`, or "". sleeve: one of `SLEEVES`.
        top_pattern, lower, lower_pattern: one of `TOP_PATTERNS`, `LOWERS`, `LOWER_PATTERNS`. A long coat is plain, has
            long sleeves and goes with plain trousers.
        top_colour, lower_colour: keys of `TOP_COLOURS`, `LOWER_COLOURS`; the others are RGB.
        view: from where the person is seen. phase: of the walk, in radians. facing: 1 right or -1 left, the side that a
            side view looks to and that carries the bag.
    """

    female: bool
    age: Literal["child", "adult", "old"]
    build: float
    height: float
    skin: Colour
    hair: Literal["short", "long"]
    hair_colour: Colour
    beard: bool
    hat: str
    hat_colour: Colour
    glasses: bool
    dark_glasses: bool
    sleeve: str
    top_pattern: str
    top_colour: str
    second_colour: Colour
    coat: bool
    lower: str
    lower_pattern: str
    lower_colour: str
    lower_second: Colour
    boots: bool
    shoe_colour: Colour
    handbag: bool
    shoulder_bag: bool
    backpack: bool
    bag_colour: Colour
    second_bag_colour: Colour
    held: str
    held_colour: Colour
    view: View
    phase: float
    facing: int

    @property
    def labels(self) -> dict[str, int]:
        """What the picture shows, 0 or 1 for each attribute of the schema `synthetic`."""
        front, back = self.view == "front", self.view == "back"
        logo = self.top_pattern == "logo" and (front or (back and not self.backpack))
        shown = {
            "Female": self.female,
            "AgeOver60": self.age == "old",
            "Age18-60": self.age == "adult",
            "AgeLess18": self.age == "child",
            "Front": front,
            "Side": self.view == "side",
            "Back": back,
            "Hat": bool(self.hat),
            "Glasses": self.glasses and not back,
            "HandBag": self.handbag,
            "ShoulderBag": self.shoulder_bag,
            "Backpack": self.backpack,
            "HoldObjectsInFront": bool(self.held) and not back,
            "ShortSleeve": self.sleeve == "short",
            "LongSleeve": self.sleeve == "long",
            "UpperStride": self.top_pattern == "stripes",
            "UpperLogo": logo,
            "UpperPlaid": self.top_pattern == "plaid",
            "UpperSplice": self.top_pattern == "splice",
            "LowerStripe": self.lower_pattern == "stripes",
            "LowerPattern": self.lower_pattern == "spots",
            "LongCoat": self.coat,
            "Trousers": self.lower == "trousers",
            "Shorts": self.lower == "shorts",
            "Skirt&Dress": self.lower == "skirt",
            "boots": self.boots,
            "LongHair": self.hair == "long",
        }
        shown |= {f"Upper{name}": name == self.top_colour for name in TOP_COLOURS}
        shown |= {f"Lower{name}": name == self.lower_colour for name in LOWER_COLOURS}
        return {name: int(value) for name, value in shown.items()}


def sample_person(rng: np.random.Generator) -> Person:
    """A random person; each attribute of the evaluation is frequent enough to be learned and measured."""

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    def one[T](choices: tuple[T, ...], weights: tuple[float, ...] | None = None) -> T:
        shares = None if weights is None else np.array(weights) / sum(weights)
        return choices[int(rng.choice(len(choices), p=shares))]

    female = chance(0.5)
    age: Literal["child", "adult", "old"] = one(("child", "adult", "old"), (0.22, 0.54, 0.24))
    long_hair = chance(0.74 if female else 0.08)
    coat = chance(0.16)
    sleeve = "long" if coat else one(SLEEVES, (0.56, 0.44))
    pattern = "plain" if coat else one(TOP_PATTERNS, (0.2, 0.19, 0.19, 0.23, 0.19))
    lower = "trousers" if coat else one(LOWERS, (0.3, 0.28, 0.42) if female else (0.6, 0.4, 0.0))
    lower_pattern = "plain" if coat else one(LOWER_PATTERNS, (0.58, 0.21, 0.21))
    top_colour = one(tuple(TOP_COLOURS))
    lower_colour = one(tuple(name for name in LOWER_COLOURS if name != top_colour))
    boots = chance(0.26)
    held = one(("box", "book")) if chance(0.2) else ""
    carried = one(
        ("none", "handbag", "shoulder", "backpack", "handbag+backpack", "handbag+shoulder"),
        (0.34, 0.15, 0.2, 0.22, 0.05, 0.04),
    )
    bag_colour = one(BAGS)
    return Person(
        female=female,
        age=age,
        build=float(rng.uniform(0.92, 1.1)),
        height=float(rng.uniform(0.96, 1.03)),
        skin=one(SKINS),
        hair="long" if long_hair else "short",
        hair_colour=one(OLD_HAIRS if age == "old" else HAIRS),
        beard=chance(0.4) and not female and age != "child",
        hat=one(HAT_KINDS) if chance(0.26) else "",
        hat_colour=one(HATS),
        glasses=chance(0.3),
        dark_glasses=chance(0.5),
        sleeve=sleeve,
        top_pattern=pattern,
        top_colour=top_colour,
        second_colour=_contrast(TOP_COLOURS[top_colour], rng),
        coat=coat,
        lower=lower,
        lower_pattern=lower_pattern,
        lower_colour=lower_colour,
        lower_second=_contrast(LOWER_COLOURS[lower_colour], rng),
        boots=boots,
        shoe_colour=one(BOOTS if boots else SHOES),
        handbag="handbag" in carried and not held,  # both hands hold the object
        shoulder_bag="shoulder" in carried,
        backpack="backpack" in carried,
        bag_colour=bag_colour,
        second_bag_colour=one(tuple(colour for colour in BAGS if colour != bag_colour)),
        held=held,
        held_colour=one(OBJECTS),
        view=one(VIEWS),
        phase=float(rng.uniform(0, 2 * math.pi)),
        facing=one((1, -1)),
    )


def _contrast(colour: Colour, rng: np.random.Generator) -> Colour:
    """A second colour that stands out from the first."""
    choices: tuple[Colour, ...] = ((246, 244, 238), (36, 36, 44), (238, 196, 60), (34, 60, 128), (200, 56, 56))

    def brightness(rgb: Colour) -> float:
        return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]

    strong = [choice for choice in choices if abs(brightness(choice) - brightness(colour)) > 80]
    return strong[int(rng.integers(len(strong)))]
