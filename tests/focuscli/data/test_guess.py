from __future__ import annotations

import pytest

from focuscli.data.guess import guess_place, guess_schema, name_words
from focuscli.data.schema import builtin_schema


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("upperBodyVNeck", "upper body V neck"),
        ("Age18-60", "age 18 60"),
        ("Skirt&Dress", "skirt dress"),
        ("hand_bag", "hand bag"),
        ("LOGO", "LOGO"),
        ("ub-SuitUp", "ub suit up"),
        ("帽子", "帽子"),
        ("été", "été"),
    ],
)
def test_names_are_cut_into_words(name: str, words: str) -> None:
    assert " ".join(name_words(name)) == words


@pytest.mark.parametrize(
    ("name", "region", "group"),
    [
        ("hat", "head", "accessory"),
        ("LongHair", "head", "hair"),
        ("BackPack", "bag", "carrying"),
        ("back", "whole", "view"),
        ("upper_black", "upper", "upper"),
        ("LowerStripe", "lower", "lower"),
        ("short sleeves", "upper", "upper"),
        ("shorts", "lower", "lower"),
        ("boots", "foot", "footwear"),
        ("Age18-60", "whole", "age"),
        ("female", "whole", "gender"),
        ("luggage", "bag", "carrying"),
        ("quantum", "whole", "whole"),
    ],
)
def test_regions_follow_the_rules(name: str, region: str, group: str) -> None:
    place = guess_place(name)
    assert (place[0], place[3]) == (region, group)


def test_the_rules_find_the_regions_of_peta() -> None:
    attributes = builtin_schema("peta").evaluated
    assert [guess_place(attribute.name)[0] for attribute in attributes] == [
        attribute.region for attribute in attributes
    ]


def test_names_that_sound_alike_get_different_phrases() -> None:
    schema = guess_schema("x", ["long_hair", "LongHair", "longHair", "___", "---"])
    assert [attribute.phrase for attribute in schema.attributes] == [
        "long hair",
        "long hair 2",
        "long hair 3",
        "___",
        "---",
    ]
