"""What an exported text tower is fed, against what the torch model makes of the same texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.schema import Text
from focuscli.errors import UsageError
from focuscli.models.prompts import PromptLearner, text_ids
from focuscli.models.text_inputs import TextInputs, prompt_weights, sentence_ids, source_prompts

REGIONS = ("head", "upper", "foot")
SEEN = (
    Text("hat", "head", "accessory", "a", attribute="Hat"),
    Text("glasses", "head", "accessory", "a", attribute="Glasses"),
    Text("boots", "foot", "footwear", "b", attribute="Boots"),
    Text("bare head", "head", "accessory", "a"),
)


@given(
    st.lists(
        st.builds(
            Text,
            phrase=st.sampled_from(["hat", " Hat", "bare head", "red tie", "umbrella"]),
            region=st.sampled_from(REGIONS),
            category=st.just("thing"),
            group=st.just(""),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_shares_of_the_learned_prompts_are_what_the_model_does(asked):
    torch.manual_seed(0)
    prompts = PromptLearner(SEEN, 8, length=3, enabled=True)
    shares = prompt_weights(asked, SEEN)
    assert np.allclose(shares.sum(axis=1), 1)
    mixed = torch.einsum("zs,smw->zmw", torch.from_numpy(shares), prompts.context)
    assert torch.allclose(mixed, prompts.context_for(asked), atol=1e-7)


def test_donors_are_the_attributes_of_the_region_or_all():
    assert source_prompts(SEEN, "head") == [0, 1]
    assert source_prompts(SEEN, "upper") == [0, 1, 2]


@pytest.mark.parametrize("enabled", [True, False])
def test_ids_are_those_of_the_model(enabled):
    prompts = PromptLearner(SEEN, 8, length=3, enabled=enabled)
    template = "a {region} feature of {category} is {phrase}." if enabled else "{phrase}"
    reading = TextInputs(template, 77, learned=prompts.length)
    asked = [*SEEN, Text("a man in {braces}", "upper", "clothes", "")]
    assert np.array_equal(reading.ids(asked), text_ids(prompts, asked, 77).numpy())


def test_a_category_may_have_its_own_sentence():
    reading = TextInputs("{phrase}", 77, by_category={"footwear": "wearing {phrase}"})
    row = reading.ids([SEEN[2]])[0]
    assert row.tolist() == sentence_ids([SEEN[2]], ["wearing boots"], learned=0, context_length=77)[0]


def test_a_token_is_that_of_the_group_else_of_the_region_else_the_last_resort():
    reading = TextInputs("{phrase}", 77, rows="tokens", tokens=4, token_of_group={"a": 1}, token_of_region={"foot": 2})
    asked = [SEEN[0], Text("sock", "foot", "x", ""), Text("dusk", "whole", "x", "")]
    assert reading.extra(asked, SEEN).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert TextInputs("{phrase}", 77).extra(asked, SEEN) is None


def test_an_empty_text_and_a_long_one_are_refused():
    reading = TextInputs("{phrase}", 10, learned=4)
    with pytest.raises(UsageError, match="empty"):
        reading.ids([Text(" ", "head", "x", "")])
    with pytest.raises(UsageError, match=r"Text 2 has 12 tokens; CLIP reads 10 \(4 are taken"):
        reading.ids([SEEN[0], Text("a man who walks his dog", "head", "x", "")])
