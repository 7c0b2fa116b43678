"""The tokenizer against OpenAI's ids: stored cases, and random Unicode against open_clip's."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_impl import tokenize
from clip_impl.config import EOT_ID, SOT_ID, VOCABULARY_SIZE
from clip_impl.tokenizer import clean, encode

GOLDEN = json.loads((Path(__file__).parent / "golden_tokens.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_golden(case):
    assert encode(case["text"]) == case["ids"]


def random_text(generator):
    """A string that mixes words, digits, punctuation, entities and code points of any script."""
    words = ["hat", "T-shirt", "don't", "I'LL", "&amp;", "&lt;", "we’ve", "100", "schÃ¶n", "ﬁ", "İ"]
    ranges = [(32, 127), (0xA0, 0x250), (0x370, 0x2000), (0x2000, 0xD800), (0x1F300, 0x1FB00)]
    pools = [lambda: generator.choice(words), lambda: generator.choice(" \t\n  ")]
    pools += [lambda ends=ends: chr(generator.randrange(*ends)) for ends in ranges]
    return "".join(generator.choice(pools)() for _ in range(generator.randrange(1, 24)))


def test_ten_thousand_random_strings_equal_open_clips():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("open_clip.tokenizer").SimpleTokenizer()
    generator = random.Random(0)
    texts = [random_text(generator) for _ in range(10_000)]
    # open_clip spells the special tokens in another way.
    different = [text for text in texts if not ("<" in text and "|" in text) and encode(text) != theirs.encode(text)]
    assert not different


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_string_gives_ids_of_the_vocabulary(text):
    ids = encode(text)
    assert all(0 <= number < VOCABULARY_SIZE for number in ids)
    assert (not ids) == (not clean(text))


def test_one_text_or_several():
    assert torch.equal(tokenize("a hat"), tokenize(["a hat"]))
    assert tokenize([]).shape == (0, 77)
    batch = tokenize(["a hat", "two words more"])
    assert batch.shape == (2, 77)
    assert batch.dtype == torch.int64
    assert batch[0, 0] == SOT_ID
    assert batch[0, 3] == EOT_ID
    assert (batch[0, 4:] == 0).all()


@pytest.mark.parametrize(("words", "fits"), [(74, True), (75, True), (76, False)])
def test_the_context_length(words, fits):
    text = " ".join(["hat"] * words)
    if fits:
        assert int((tokenize(text) != 0).sum()) == words + 2
        return
    with pytest.raises(RuntimeError, match=r"hat hat .* has 78 tokens, too long for context length 77"):
        tokenize(text)
    cut = tokenize(text, truncate=True)[0]
    assert cut[-1] == EOT_ID
    assert torch.equal(cut[:-1], tokenize(" ".join(["hat"] * 75))[0, :-1])
