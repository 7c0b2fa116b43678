"""A first schema from nothing but column names; the user is told to correct it.

Rules. A name is cut into words at case changes, digits and punctuation; plural "s" does not count; two neighbouring
words also count as one (hand bag = handbag). The first line of `_RULES` that has one of these words decides, so that
upper and lower come before the names of things; else the region is `whole`. The phrase is the words of the name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from focuscli.data.schema import AttributeSchema


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# region, subregion, category, group, words
_RULES: tuple[tuple[str, str | None, str, str, frozenset[str]], ...] = (
    ("upper", None, "clothes", "upper", _words("upper upperbody ub top torso")),
    ("lower", None, "clothes", "lower", _words("lower lowerbody lb leg")),
    ("foot", None, "footwear", "footwear", _words("foot feet footwear shoe boot sneaker sandal slipper sock heel")),
    ("head", None, "hair", "hair", _words("hair bald baldhead haircut ponytail beard")),
    (
        "bag",
        None,
        "luggage",
        "carrying",
        _words("bag handbag backpack rucksack suitcase luggage trolley carrying attach umbrella purse briefcase box"),
    ),
    (
        "head",
        None,
        "accessory",
        "accessory",
        _words("head hs hat cap helmet glasses sunglasses muffler scarf mask face hood headphone kerchief accessory"),
    ),
    (
        "lower",
        None,
        "clothes",
        "lower",
        _words("trouser pant jean shorts skirt shortskirt longskirt miniskirt dress legging tights capri"),
    ),
    (
        "upper",
        None,
        "clothes",
        "upper",
        _words("shirt tshirt jacket coat longcoat sweater sleeve sleeveless vest suit logo hoodie blouse vneck"),
    ),
    ("whole", "gender", "gender", "gender", _words("male female man woman gender boy girl sex")),
    ("whole", "age", "age", "age", _words("age old young child adult year elderly kid teen senior")),
    ("whole", "view", "view", "view", _words("front side back view facing frontal")),
    ("whole", "body", "body shape", "body", _words("body fat thin slim tall heavy")),
    ("whole", "role", "role", "role", _words("role customer clerk staff police worker")),
    ("whole", "action", "action", "action", _words("action walking running calling talking holding pushing pulling")),
)


def guess_schema(name: str, columns: Sequence[str]) -> AttributeSchema:
    """A schema with one evaluated attribute per column, every phrase different."""
    from focuscli.data.schema import Attribute, AttributeSchema, Group

    attributes: list[Attribute] = []
    phrases: set[str] = set()
    for column in columns:
        words = name_words(column)
        phrase = " ".join(words) or column
        number = 2
        while phrase.lower() in phrases:
            phrase, number = f"{' '.join(words)} {number}", number + 1
        phrases.add(phrase.lower())
        region, subregion, category, group = guess_place(column)
        attributes.append(
            Attribute(name=column, phrase=phrase, region=region, subregion=subregion, category=category, group=group)
        )
    groups = tuple(Group(name=group) for group in dict.fromkeys(attribute.group for attribute in attributes))
    return AttributeSchema(name=name, groups=groups, attributes=tuple(attributes))


def guess_place(column: str) -> tuple[str, str | None, str, str]:
    """Region, subregion, category and group of a column by the rules at the head of this module."""
    words = [word.lower() for word in name_words(column)]
    pairs = [first + second for first, second in itertools.pairwise(words)]
    said = {form for word in [*words, *pairs] for form in (word, word.removesuffix("s"))}
    for region, subregion, category, group, known in _RULES:
        if said & known:
            return region, subregion, category, group
    return "whole", None, "appearance", "whole"


def name_words(name: str) -> list[str]:
    """The words of a name: "upperBodyVNeck" -> upper, body, V, neck; "Age18-60" -> age, 18, 60.

    Letters after the first of a word are lowered only where the word is not all capitals (a logo stays "LOGO").
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+", name)
    return [part if part.isupper() else part.lower() for part in parts]
