"""The folded attention equals the module that it was made from, and the model's own path."""

from __future__ import annotations

import pytest
import torch

from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.tools.gallery.folded import fold_attention, token_scorer

LIMIT = 1e-5  # of a difference of scores, in units of exp(logit_scale), the score of a cosine of 1


@pytest.mark.parametrize("size", [0.0, 0.2])
@pytest.mark.parametrize(("count", "tokens", "heads"), [(300, 12, 4), (5, 1, 2), (1, 3, 1)])
def test_scores_equal_those_of_the_module(features, size, count, tokens, heads):
    """At the identity and away from it; one crop, one token, one head."""
    torch.manual_seed(1)
    module = AttributeCrossAttention(16, heads).requires_grad_(False)
    for part in module.parameters():
        part.add_(size * torch.randn_like(part))
    mix = torch.from_numpy(features(count, tokens))
    texts = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    expected = torch.cosine_similarity(module.double()(texts.double(), mix.double())[0], texts.double(), dim=-1)
    assert (fold_attention(module, texts, 100.0)(mix) - 100 * expected).abs().max() < 100 * LIMIT


@pytest.mark.parametrize(
    "changes", [{}, {"avfe": False}, {"mgmt": False}, {"method": "clip-ft"}, {"method": "clip"}, {"method": "poar"}]
)
def test_scores_equal_the_models_own(build, features, changes):
    """`Method.score` in fp32 on the same half-precision features."""
    recognizer = build(**changes)
    model = recognizer.model
    mix = torch.from_numpy(features(200, len(model.token_names)))
    texts = recognizer.encode_texts([recognizer.text(words) for words in ("hat", "blue jeans", "green umbrella")])
    difference = token_scorer(model, texts)(mix) - model.score(mix.float(), texts).scores
    assert difference.abs().max() < LIMIT * float(model.clip.logit_scale.exp())
