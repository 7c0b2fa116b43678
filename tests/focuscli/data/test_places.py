"""Regions of free texts: the rules in their order."""

from __future__ import annotations

import pytest

from focuscli.data.places import place_words
from focuscli.data.schema import Text

KNOWN = (
    Text("hat", "head", "accessory", "accessory"),
    Text("long coat", "lower", "clothes", "lower"),
    Text("coat", "upper", "clothes", "upper"),
    Text("backpack", "bag", "luggage", "carrying"),
    Text("grey upper clothes", "upper", "clothes", "colour"),
)


@pytest.mark.parametrize(
    ("words", "region", "reason"),
    [
        ("Red  BACKPACK", "bag", 'as "backpack" of the schema'),
        ("a long coat", "lower", 'as "long coat" of the schema'),  # more words win over "coat"
        ("long grey coat", "upper", 'as "coat" of the schema'),  # side by side only
        ("coat with hat", "head", 'as "hat" of the schema'),  # of equal length the last
        ("hat with coat", "upper", 'as "coat" of the schema'),
        ("hatless", "whole", "no known word"),  # whole words only
        ("brown boots", "foot", "guessed from its words"),
        ("in a hurry", "whole", "no known word"),
        ("東京", "whole", "no known word"),
    ],
)
def test_the_first_rule_that_applies_decides(words, region, reason):
    place = place_words(words, KNOWN)
    assert (place.region, place.reason) == (region, reason)
    assert (place.like is not None) == ("schema" in reason)


def test_without_a_schema_the_words_are_guessed():
    assert place_words("red hat", ()).reason == "guessed from its words"
    assert place_words("", ()).region == "whole"
