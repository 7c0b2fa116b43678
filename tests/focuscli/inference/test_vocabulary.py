"""Which words are taken as a text, and which are asked about first."""

from __future__ import annotations

import pytest

from focuscli.data.schema import builtin_schema
from focuscli.errors import UsageError
from focuscli.inference.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    schema = builtin_schema("pa100k")
    attributes = schema.texts(complements=False)
    return Vocabulary(schema.texts(complements=True), attributes, attributes, schema.regions, {})


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("backpak", 'Did you mean "backpack"?'),
        ("Bakcpack", 'Did you mean "backpack"?'),
        ("backpacks", 'Did you mean "backpack"?'),
        ("back pack", 'Did you mean "backpack"?'),
        ("sleeves, long", "one by one: sleeves long;"),
        ("sleeves long", 'Did you mean "long sleeves"?'),
        ("short sleve", 'Did you mean "short sleeves"?'),
        ("femal", 'Did you mean "female"?'),
        ("age over 60", 'Did you mean "over 60 years old"?'),
        ("hat,long sleeves", "one by one: hat 'long sleeves';"),
        ("hat; scarf", "one by one: hat scarf;"),
    ],
)
def test_slips_and_lists_are_asked_about(vocabulary, words, meant):
    with pytest.raises(UsageError) as refusal:
        vocabulary.check(words)
    assert meant in refusal.value.hint
    assert "--free" in refusal.value.hint


@pytest.mark.parametrize(
    "words",
    [
        *("backpack", " Long  SLEEVES", "LongSleeve", "male", "red scarf", "red backpack", "skirt", "shirt", "no hat"),
        *("between 30 and 40 years old", "rucksack", "briefcase", "seen from above", "kimono"),
    ],
)
def test_known_and_clearly_other_texts_are_taken(vocabulary, words):
    vocabulary.check(words)
