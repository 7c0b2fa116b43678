"""Prompts: the token sequence, seen and unseen texts, trimming."""

from __future__ import annotations

import pytest
import torch

from clip_impl import CLIP, TextConfig, VisionConfig, tokenize
from clip_impl.config import CLIPConfig
from focuscli.data.schema import Text
from focuscli.errors import UsageError
from focuscli.models.prompts import PromptLearner, encode_texts, text_ids

CONFIG = CLIPConfig(
    VisionConfig(image_size=(32, 32), patch_size=8, width=32, layers=1, heads=2),
    TextConfig(width=32, layers=2, heads=2),
    embed_dim=16,
)
TEXTS = (
    Text(phrase="hat", region="head", category="accessory", group="accessory", attribute="Hat"),
    Text(phrase="glasses", region="head", category="accessory", group="accessory", attribute="Glasses"),
    Text(phrase="T-shirt", region="upper", category="clothes", group="upper", attribute="Tshirt"),
    Text(phrase="bare head", region="head", category="accessory", group="accessory"),
)
SCARF = Text(phrase="red scarf", region="head", category="accessory", group="")
BOOTS = Text(phrase="boots", region="foot", category="shoes", group="")


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return CLIP(CONFIG)


@pytest.fixture
def prompts():
    torch.manual_seed(1)
    return PromptLearner(TEXTS, 32, length=4, enabled=True)


def test_the_papers_example_sentence(prompts):
    assert prompts.sentence(TEXTS[2]) == "a upper feature of clothes is T-shirt."


def test_the_sequence_is_start_context_description_end(clip, prompts):
    """Against a plain, untrimmed run of the text tower on embeddings put together by hand."""
    with torch.no_grad():
        ours = encode_texts(clip, prompts, TEXTS)
        for number, text in enumerate(TEXTS):
            ids = tokenize([text.description])[0]
            ids = ids[ids != 0]
            embedded = clip.token_embedding(ids)
            sequence = torch.cat([embedded[:1], prompts.context[number], embedded[1:]])
            padded = torch.cat([sequence, torch.randn(77 - len(sequence), 32)])
            expected = clip.encode_text_embeddings(padded[None], torch.tensor([len(sequence) - 1]))[0]
            assert (ours[number] - expected).abs().max() < 1e-5


def test_unseen_texts_take_the_mean_of_their_region(prompts):
    context = prompts.context_for([SCARF, BOOTS, TEXTS[1]])
    # The complement "bare head" is a training text but no attribute: it does not enter the mean.
    assert torch.allclose(context[0], prompts.context[[0, 1]].mean(dim=0))
    assert torch.allclose(context[1], prompts.context[[0, 1, 2]].mean(dim=0))
    assert torch.equal(context[2], prompts.context[1])


def test_a_seen_phrase_is_seen_in_any_spelling(prompts):
    assert prompts.is_seen("  t-SHIRT ")
    assert not prompts.is_seen("shirt")


def test_without_prompts_a_text_is_its_plain_phrase(clip):
    off = PromptLearner(TEXTS, 32, length=4, enabled=False)
    with torch.no_grad():
        ours = encode_texts(clip, off, TEXTS)
        plain = clip.encode_text(tokenize([text.phrase for text in TEXTS]))
    assert off.context.numel() == 0
    assert (ours - plain).abs().max() < 1e-5


def test_gradients_reach_the_context_through_a_frozen_tower(clip, prompts):
    clip.requires_grad_(False)
    encode_texts(clip, prompts, TEXTS).sum().backward()
    assert (prompts.context.grad.abs().sum(dim=(1, 2)) > 0).all()


def test_too_long_a_text_is_refused_with_its_number_and_length(clip, prompts):
    long = Text(phrase="a man who " + "walks " * 80, region="head", category="accessory", group="")
    with pytest.raises(UsageError, match=r"Text 2 has \d+ tokens; CLIP reads 77 \(4 are taken"):
        encode_texts(clip, prompts, [TEXTS[0], long])


def test_the_longest_text_that_fits_is_read(clip, prompts):
    def text(words):
        return Text(phrase=" ".join(["red"] * words), region="head", category="accessory", group="")

    # "a head feature of accessory is ... ." has 7 tokens, start and end 2, the context 4.
    assert text_ids(prompts, [text(64)], 77).shape == (1, 73)
    with pytest.raises(UsageError):
        text_ids(prompts, [text(65)], 77)


def test_an_empty_text_is_refused(prompts):
    with pytest.raises(UsageError, match="Text 1 is empty"):
        text_ids(prompts, [Text(phrase="x", region="head", category="c", group="").__class__(" ", "head", "c", "")], 77)
