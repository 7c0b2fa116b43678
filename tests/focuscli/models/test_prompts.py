"""Prompts and their values in a file: the token sequence, seen and unseen texts, limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clip_impl import tokenize
from focuscli.data.texts import DESCRIPTION, Text
from focuscli.errors import UsageError
from focuscli.models.prompts import PromptLearner, encode_texts
from focuscli.models.text_inputs import TextInputs, prompt_weights

TEXTS = (
    Text("hat", "head", "accessory", "accessory", attribute="Hat"),
    Text("glasses", "head", "accessory", "accessory", attribute="Glasses"),
    Text("T-shirt", "upper", "clothes", "upper", attribute="Tshirt"),
    Text("bare head", "head", "accessory", "accessory"),
)
SCARF, BOOTS = Text("red scarf", "head", "accessory", ""), Text("boots", "foot", "shoes", "")


@pytest.fixture
def prompts():
    torch.manual_seed(1)
    return PromptLearner(TEXTS, 32, TextInputs(DESCRIPTION, 77, learned=4, rows="prompts"))


def test_the_sequence_is_start_context_description_end(clip, prompts):
    """Against a plain, untrimmed run of the text tower on embeddings put together by hand."""
    assert TEXTS[2].description == "a upper feature of clothes is T-shirt."  # the paper's example
    with torch.no_grad():
        ours = encode_texts(clip, prompts)
        assert torch.equal(ours[[2, 0]], encode_texts(clip, prompts, [TEXTS[2], TEXTS[0]]))
        for number, text in enumerate(TEXTS):
            ids = tokenize([text.description])[0]
            embedded = clip.token_embedding(ids[ids != 0])
            sequence = torch.cat([embedded[:1], prompts.context[number], embedded[1:]])
            padded = torch.cat([sequence, torch.randn(77 - len(sequence), 32)])
            expected = clip.encode_text_embeddings(padded[None], torch.tensor([len(sequence) - 1]))[0]
            assert (ours[number] - expected).abs().max() < 1e-5


def test_unseen_texts_take_the_mean_of_their_region(prompts):
    context = prompts.context_for([SCARF, BOOTS, TEXTS[1], Text(" t-SHIRT", "foot", "", "")])
    # The complement "bare head" is a training text but no attribute: it is not in the mean. No text has region foot.
    for found, sources in zip(context, ([0, 1], [0, 1, 2], [1], [2]), strict=True):
        assert torch.allclose(found, prompts.context[sources].mean(dim=0), atol=1e-8)
    assert prompts.context_for(TEXTS) is prompts.context
    assert np.allclose(prompt_weights([SCARF, TEXTS[3]], TEXTS), [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])


def test_without_prompts_a_text_is_its_plain_phrase(clip):
    off = PromptLearner(TEXTS, 32, TextInputs("{phrase}", 77))
    with torch.no_grad():
        plain = clip.encode_text(tokenize([text.phrase for text in TEXTS]))
        assert (encode_texts(clip, off) - plain).abs().max() < 1e-5
    assert off.context.numel() == 0


def test_gradients_reach_the_context_through_a_frozen_tower(clip, prompts):
    clip.requires_grad_(False)
    encode_texts(clip, prompts).sum().backward()
    assert (prompts.context.grad.abs().sum(dim=(1, 2)) > 0).all()


def test_the_longest_text_that_fits_is_read(prompts):
    # "a head feature of accessory is ... ." has 7 tokens, start and end 2, the context 4.
    longest, longer = (Text(" ".join(["red"] * words), "head", "accessory", "") for words in (64, 65))
    assert prompts.inputs.ids([longest]).shape == (1, 73)
    with pytest.raises(UsageError, match=r"Text 2 has 78 tokens; CLIP reads 77 \(4 are taken"):
        prompts.inputs.ids([longest, longer])
    with pytest.raises(UsageError, match="Text 1 is empty"):
        prompts.inputs.ids([Text(" ", "head", "c", "")])


def test_an_exported_text_has_the_sentence_of_its_category_and_the_token_of_its_group_else_region():
    by_category = {"shoes": "{region}: wearing {phrase}"}
    inputs = TextInputs("{phrase}", 77, by_category=by_category)
    braces = Text("a man in {braces}", "upper", "clothes", "")
    assert np.array_equal(inputs.ids([BOOTS, braces]), tokenize(["foot: wearing boots", braces.phrase])[:, :8])
    assert inputs.extra([BOOTS], TEXTS) is None
    places = {"token_of_group": {"upper": 1}, "token_of_region": {"foot": 2}, "other_token": 3}
    inputs = TextInputs("{phrase}", 77, rows="tokens", tokens=4, **places)
    assert inputs.extra([TEXTS[2], BOOTS, SCARF], TEXTS).argmax(axis=1).tolist() == [1, 2, 3]
