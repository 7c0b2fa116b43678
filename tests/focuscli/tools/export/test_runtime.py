"""The description inside an exported model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.texts import Text
from focuscli.inference.vocabulary import Vocabulary
from focuscli.models.text_inputs import TextInputs
from focuscli.tools.export.runtime import ModelCard

HAT = Text("hat", "head", "accessory", "a", attribute="Hat")
TIE = Text("red tie", "upper", "clothes", "")
CARD = ModelCard(
    kind="fixed",
    precision="fp32",
    method="focus",
    image_size=(32, 16),
    mean=(0.4, 0.5, 0.6),
    std=(0.1, 0.2, 0.3),
    texts=(HAT, TIE),
    vocabulary=Vocabulary((HAT,), (HAT,), (HAT,), ("head", "upper"), {"Hat": 0.5}),
    threshold_source="val, criterion mA",
    checkpoint="runs/a",
    fingerprint="f" * 64,
    weights="from scratch",
    trained_on="coloured",
    made_by="focus 0",
)
words = st.text(min_size=1, max_size=12)


@given(
    st.lists(st.builds(Text, words, words, words, words, st.none() | words, st.none() | words), max_size=3),
    st.dictionaries(words, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    st.none() | st.builds(TextInputs, words, st.integers(1, 77), rows=st.sampled_from(["prompts", "tokens", "none"])),
)
def test_a_card_survives_its_json(texts, thresholds, text_inputs):
    vocabulary = Vocabulary(tuple(texts), (HAT,), (HAT,), ("head",), thresholds, learned=False)
    found = replace(CARD, texts=tuple(texts), vocabulary=vocabulary, text_inputs=text_inputs)
    assert ModelCard.from_json(found.to_json()) == found


@pytest.mark.parametrize(("thresholds", "shown"), [({"Hat": 0.5}, 0.5), ({}, None)])
def test_what_other_programs_need_is_in_the_json(thresholds, shown):
    values = json.loads(replace(CARD, vocabulary=replace(CARD.vocabulary, thresholds=thresholds)).to_json())
    assert values["input"]["size"] == [32, 16]
    assert "uint8" in values["input"]["layout"]
    names = ("name", "region", "threshold", "seen", "region_source")
    hat, tie = ([label[name] for name in names] for label in values["labels"])
    assert hat[:4] == ["Hat", "head", shown, True]
    assert tie == ["red tie", "upper", shown, False, "as given"]


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"format": 99}',
        CARD.to_json().replace('"vocabulary"', '"other"'),
        CARD.to_json().replace('"size": [32, 16]', '"size": [32]'),
    ],
)
def test_a_damaged_card_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        ModelCard.from_json(text)
