"""POAR: masks as in the paper's code, tokens equal to an attention without masks, texts at their group's token."""

from __future__ import annotations

import pytest
import torch

from clip_impl import tokenize
from focuscli.config import LossConfig
from focuscli.data.schema import Text
from focuscli.models.losses import many_to_many_loss
from focuscli.models.poar import ROWS_OF_GROUP, ROWS_OF_REGION, PoarCriterion, region_mask

# POAR's table for PETA on 14 x 14 patches: first and last column (inclusive) of a sequence that starts with 8 tokens.
PETA = [
    ("head", 8, 91),
    ("bag", 64, 175),
    ("accessory", 8, 175),
    ("foot", 148, 203),
    ("upper", 8, 147),
    ("lower", 64, 203),
]


@pytest.mark.parametrize(("name", "first", "last"), PETA)
def test_bands_are_those_of_the_paper_on_its_grid(name, first, last):
    band = {**ROWS_OF_REGION, **ROWS_OF_GROUP}[name]
    mask = region_mask([band] * 8, (14, 14))
    patches = mask[0, 9:].nonzero().flatten()
    assert patches.tolist() == list(range(first - 8, last - 8 + 1))


def test_who_reads_whom():
    mask = region_mask([(0, 6), (0, 14)], (4, 2))
    assert mask[0].nonzero().flatten().tolist() == [0, 3, 4, 5, 6]  # itself, rows 0 and 1 of 4 (6 of 14, outwards)
    assert mask[1].nonzero().flatten().tolist() == [1, *range(3, 11)]
    assert mask[2].nonzero().flatten().tolist() == list(range(2, 11))  # the class token, which nobody reads
    assert not mask[3:, :3].any()
    assert mask[3:, 3:].all()


def test_tokens_equal_an_attention_without_masks(build):
    """Oracle: patches alone through the blocks; beside them each token with its own band as the only other keys."""
    model = build("poar")
    vision = model.clip.visual
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        features = model.encode_image(images).tokens
        patches = vision.conv1(images).flatten(2).mT + vision.positional_embedding[1:]
        patches = vision.ln_pre(patches)
        tokens = [vision.ln_pre(token.expand(2, 1, -1)) for token in model.tokens]
        mask = region_mask(model.bands, (8, 4))
        count = len(model.tokens)
        bands = [mask[index, count + 1 :] for index in range(count)]
        for block in vision.transformer.resblocks:
            grown = []
            for token, band in zip(tokens, bands, strict=True):
                sequence = torch.cat([token, patches[:, band]], dim=1)
                attended, _ = block.attn(block.ln_1(sequence))
                token = token + attended[:, :1]
                grown.append(token + block.mlp(block.ln_2(token)))
            tokens = grown
            patches, _ = block(patches)
        expected = vision.project(torch.cat(tokens, dim=1))
    assert torch.allclose(features, expected, atol=1e-10)


def test_a_text_meets_the_token_of_its_group(build, texts):
    model = build("poar")
    assert model.token_names == ["accessory", "footwear", "lower", "age"]
    # No such region: a token that attends to all rows.
    others = [Text("sandals", "foot", "footwear", ""), Text("kind", "soul", "person", "")]
    assert model.encode_texts([*texts, *others])[:, 16:].argmax(dim=1).tolist() == [0, 0, 1, 2, 3, 1, 3]
    images = torch.randn(1, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        output = model(images)
        rows = model.encode_texts()[:, :16]
    cosine = torch.nn.functional.cosine_similarity(output.tokens[0, 1], rows[2], dim=0)
    assert torch.allclose(output.scores[0, 2], (cosine / 0.07).to(output.scores), atol=1e-4)


def test_sentences(build, texts):
    sentences = ["accessorying hat", "accessorying scarf", "wearing boots", "wearing trousers", "young"]
    expected = tokenize([f"This person is {words}." for words in sentences])
    ids = build("poar")._prompts.inputs.ids(texts)
    assert (ids == expected[:, : ids.shape[1]].numpy()).all()


def test_only_texts_of_the_batch_are_candidates(build, texts):
    """Brute force: group by group, over the columns that are true of some image."""
    model = build("poar")
    targets = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [1, 0, 1, 1, 0]], dtype=torch.float64)
    images = torch.randn(3, 3, 64, 32, dtype=torch.float64)
    groups = torch.tensor([[text.group == name for name in model.token_names] for text in texts])
    constants = {"groups": groups, "blocks": torch.eye(5), "positive_rate": torch.full((5,), 0.5)}
    criterion = PoarCriterion(LossConfig(t2v=0.0), **constants)
    with torch.no_grad():
        output = model(images)
        found = criterion(output, targets, torch.ones(3, 5, dtype=torch.bool), 0.0)
    expected = []
    for group in groups.T:
        columns = group & (targets > 0).any(dim=0)
        if columns.any():
            expected.append(many_to_many_loss(output.scores[:, columns], targets[:, columns]))
    assert torch.allclose(found["loss"], torch.stack(expected).mean(), atol=1e-6)
