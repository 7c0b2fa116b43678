"""The folded attention equals the model's own score, and its bounds enclose what they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.tools.gallery import sketch
from focuscli.tools.gallery.folded import FoldedAttention
from focuscli.tools.gallery.scorer import fold_model

LIMIT = 1e-5
"""Of a difference of scores, in units of exp(logit_scale), the score of a cosine of 1."""


def perturbed(width: int, heads: int, seed: int, size: float, bias: float) -> AttributeCrossAttention:
    generator = torch.Generator().manual_seed(seed)
    module = AttributeCrossAttention(width, heads)
    with torch.no_grad():
        for name, part in module.named_parameters():
            change = torch.randn(part.shape, generator=generator)
            part.add_(change, alpha=bias if name.endswith("bias") else size)
    return module.requires_grad_(False)


def reference(module: AttributeCrossAttention, tokens: torch.Tensor, texts: torch.Tensor, scale: float):
    """The definition in double precision, head by head: V [n, Z, D] and scores [n, Z]."""
    weight = {name: part.double() for name, part in module.state_dict().items()}
    texts, tokens = texts.double(), tokens.double()

    def through(name, x):
        return x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    query, key, value = through("query", texts), through("key", tokens), through("value", tokens)
    share = texts.shape[1] // module.heads
    pooled = []
    for head in range(module.heads):
        part = slice(head * share, (head + 1) * share)
        logits = torch.einsum("zs,nks->nzk", query[:, part], key[..., part]) / share**0.5
        pooled.append(logits.softmax(dim=-1) @ value[..., part])
    features = through("out", torch.cat(pooled, dim=-1))
    return features, scale * torch.nn.functional.cosine_similarity(features, texts.expand_as(features), dim=-1)


@pytest.mark.parametrize("size", [0.0, 0.2])
@pytest.mark.parametrize(("count", "tokens", "heads"), [(300, 12, 4), (5, 1, 2), (1, 3, 1), (128, 4, 8)])
def test_scores_equal_the_definition(features, size, count, tokens, heads):
    """At the identity and away from it; more crops than go through at a time; one token, one head."""
    module = perturbed(16, heads, 1, size, size)
    mix = torch.from_numpy(features(count, tokens))
    texts = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    expected = reference(module, mix, texts, 100.0)[1]
    folded = FoldedAttention(module, 100.0)
    assert (folded.scores(mix, folded.fold(texts)) - expected).abs().max() < 100 * LIMIT
    fine = folded.double()
    assert (fine.scores(mix, fine.fold(texts)) - expected).abs().max() < 1e-9


def test_scores_equal_the_models_own_path(features, recognizer):
    """`Method.score` in fp32 on the same half-precision features."""
    model = recognizer.model
    mix = torch.from_numpy(features(200, len(model.token_names)))
    with torch.inference_mode():
        texts = recognizer.encode_texts([recognizer.text(words) for words in ("hat", "blue jeans", "green umbrella")])
        folded = fold_model(model)
        difference = folded.scores(mix, folded.fold(texts)) - model.score(mix.float(), texts).scores
    assert difference.abs().max() < LIMIT * folded.scale


def test_the_numerator_alone_is_the_dot_product(features):
    module = perturbed(16, 4, 3, 0.3, 0.3)
    mix, texts = torch.from_numpy(features(20, 6)), torch.randn(2, 16)
    values, _ = reference(module, mix, texts, 1.0)
    folded = FoldedAttention(module, 1.0)
    query = folded.fold(texts)
    weights, numerator = folded.attend(folded.project(mix, query.functions()), query)
    assert weights.shape == (2, 4, 6, 20)
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, 4, 20), atol=1e-5)
    expected = torch.einsum("nzd,zd->zn", values, torch.nn.functional.normalize(texts.double(), dim=1))
    assert torch.allclose(numerator.double(), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    heads=st.sampled_from([1, 2, 4]),
    tokens=st.integers(1, 7),
    size=st.floats(0, 0.5),
    bias=st.floats(0, 1),
    pull=st.floats(0, 20),
    common=st.floats(0, 3),
)
def test_bounds_enclose_norms_and_scores(seed, heads, tokens, size, bias, pull, common):
    """Whatever the weights, the biases, how sharply texts look and how much tokens have in common."""
    module = perturbed(8, heads, seed, size, bias)
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(9, tokens, 8, generator=generator) + common * torch.randn(9, 1, 8, generator=generator)
    mix, texts = (3 * mix).half(), pull * torch.randn(3, 8, generator=generator) + 1e-3
    features, scores = reference(module, mix, texts, 10.0)
    folded = FoldedAttention(module, 10.0)
    query = folded.fold(texts)
    basis = sketch.fit_basis(mix.float(), folded, query, 4)
    _, _, floors = sketch.encode(mix, basis, folded)
    weights, numerator = folded.attend(folded.project(mix, query.functions()), query)
    floors, unit = torch.from_numpy(floors), float(basis.unit)
    low, high = folded.least_norm(weights, floors, unit), folded.most_norm(weights, floors, unit)
    norm = features.norm(dim=-1).T
    assert (low <= norm * (1 + 1e-5)).all()
    assert (high >= norm * (1 - 1e-5)).all()
    lower, upper = folded.score_bounds(numerator, low, high)
    assert (lower <= scores.T).all()
    assert (upper >= scores.T).all()
    unknown = folded.score_bounds(numerator, torch.zeros_like(low), torch.full_like(high, torch.inf))
    assert (unknown[0] <= scores.T).all()
    assert (unknown[1] >= scores.T).all()


def test_bounds_meet_where_each_head_looks_at_one_token_and_heads_do_not_mix():
    """The identity, tokens without anything in common between heads: then nothing is left open but rounding."""
    module = perturbed(8, 2, 0, 0.0, 0.0)
    mix = torch.zeros(1, 2, 8)
    mix[0, 0, 0] = mix[0, 1, 5] = 4.0  # token 0 lies in head 0's half, token 1 in head 1's
    texts = torch.zeros(1, 8)
    texts[0, 0] = texts[0, 5] = 40.0
    folded = FoldedAttention(module, 1.0)
    query = folded.fold(texts)
    basis = sketch.fit_basis(mix, folded, query, 4)
    floors = torch.from_numpy(sketch.encode(mix.half(), basis, folded)[2])
    weights, _ = folded.attend(folded.project(mix, query.functions()), query)
    low = folded.least_norm(weights, floors, float(basis.unit))
    high = folded.most_norm(weights, floors, float(basis.unit))
    assert float(low) == pytest.approx(32**0.5, rel=2e-3)
    assert float(high) == pytest.approx(32**0.5, rel=2e-3)
