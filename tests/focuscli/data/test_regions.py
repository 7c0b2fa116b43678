"""Regions: the block matrix, what column names suggest, and where free texts belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.regions import guess_place, name_words, place_words, region_block_matrix, region_names
from focuscli.data.schema import builtin_schema
from focuscli.data.texts import Text


def test_the_description_is_the_papers_example() -> None:
    assert Text("T-shirt", "upper", "clothes", "upper").description == "a upper feature of clothes is T-shirt."


@given(st.lists(st.sampled_from(["head", "whole/age", "whole/view", "whole", "foot"]), min_size=1, max_size=12))
def test_the_block_matrix_is_one_where_regions_are_equal(places: list[str]) -> None:
    texts = []
    for place in places:
        region, _, subregion = place.partition("/")
        texts.append(Text("p", region, "c", "g", subregion or None))
    for regions, part in (("coarse", 0), ("fine", -1)):
        names = [place.split("/")[part] for place in places]
        assert region_names(texts, regions) == names
        blocks = region_block_matrix(texts, regions)
        assert blocks.dtype == np.float32
        assert blocks.tolist() == [[float(first == second) for second in names] for first in names]


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
    ("region", "group", "names"),
    [
        ("head", "accessory", ["hat", "headphones"]),
        ("head", "hair", ["LongHair"]),
        ("upper", "upper", ["upper_black", "short sleeves", "hoodie"]),
        ("lower", "lower", ["LowerStripe", "shorts", "tights"]),
        ("foot", "footwear", ["boots"]),
        ("bag", "carrying", ["BackPack", "luggage", "umbrella"]),
        ("whole", "age", ["Age18-60"]),
        ("whole", "gender", ["female"]),
        ("whole", "view", ["back"]),
        ("whole", "whole", ["quantum"]),
    ],
)
def test_names_suggest_a_region(region: str, group: str, names: list[str]) -> None:
    for name in names:
        place = guess_place(name)
        assert (place[0], place[3]) == (region, group), name


def test_the_rules_find_the_regions_of_peta() -> None:
    assert place_words("red hat", ()).reason == "guessed from its words"
    for attribute in builtin_schema("peta").evaluated:
        assert guess_place(attribute.name)[0] == attribute.region, attribute.name


KNOWN = (
    Text("hat", "head", "accessory", "accessory"),
    Text("long coat", "lower", "clothes", "lower"),
    Text("coat", "upper", "clothes", "upper"),
    Text("backpack", "bag", "luggage", "carrying"),
    Text("grey upper clothes", "upper", "clothes", "colour"),
    Text("Coat", "foot", "clothes", "other"),  # the same words again: the first of the schema counts
    Text("---", "bag", "luggage", "other"),  # no word at all
)


@pytest.mark.parametrize(
    ("words", "region", "reason"),
    [
        ("Red  BACKPACK", "bag", 'as "backpack" of the schema'),
        ("a long coat", "lower", 'as "long coat" of the schema'),  # more words win over "coat"
        ("long grey coat", "upper", 'as "coat" of the schema'),  # side by side only
        ("coat with hat", "head", 'as "hat" of the schema'),  # of equal length the last
        ("hat with coat", "upper", 'as "coat" of the schema'),
        ("hat", "head", 'as "hat" of the schema'),
        ("red hat again", "head", 'as "hat" of the schema'),
        ("hatless", "whole", "no known word"),  # whole words only
        ("brown boots", "foot", "guessed from its words"),
        ("in a hurry", "whole", "no known word"),
        ("東京", "whole", "no known word"),
        ("", "whole", "no known word"),
    ],
)
def test_free_texts_are_placed_by_the_first_rule_that_applies(words: str, region: str, reason: str) -> None:
    place = place_words(words, KNOWN)
    assert (place.region, place.reason) == (region, reason)
    assert (place.like is not None) == ("schema" in reason)
