"""Losses against loops written from the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.models.losses import (
    grouped_many_to_many_loss,
    many_to_many_loss,
    mix_diversity_loss,
    region_contrastive_loss,
    weighted_binary_cross_entropy,
)


def loop_many_to_many(logits, targets, known=None):
    rows = []
    for r in range(len(logits)):
        usable = [c for c in range(logits.shape[1]) if known is None or known[r][c]]
        positives = [c for c in usable if targets[r][c] == 1]
        negatives = [c for c in usable if targets[r][c] == 0]
        if not positives:
            continue
        terms = []
        for p in positives:
            top = math.exp(logits[r][p])
            terms.append(-math.log(top / (top + sum(math.exp(logits[r][n]) for n in negatives))))
        rows.append(sum(terms) / len(terms))
    return sum(rows) / len(rows) if rows else 0.0


def random_case(seed, rows=5, columns=7):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    targets = (torch.rand(rows, columns, generator=generator) < 0.4).double()
    known = torch.rand(rows, columns, generator=generator) < 0.8
    return logits, targets, known


def test_many_to_many_by_hand():
    # Row 0: positive 2, negatives 0 and 1: log((e^2 + e^0 + e^1) / e^2). Row 1 has no positive, row 2 no negative: 0.
    logits = torch.tensor([[2.0, 0.0, 1.0], [1.0, 2.0, 3.0], [5.0, 1.0, 2.0]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    first = math.log((math.e**2 + 1 + math.e) / math.e**2)
    assert many_to_many_loss(logits, targets).item() == pytest.approx((first + 0) / 2, abs=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_many_to_many_equals_the_loop(seed):
    logits, targets, known = random_case(seed)
    assert many_to_many_loss(logits, targets).item() == pytest.approx(loop_many_to_many(logits, targets), abs=1e-5)
    masked = many_to_many_loss(logits, targets, known).item()
    assert masked == pytest.approx(loop_many_to_many(logits, targets, known), abs=1e-5)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_grouped_equals_the_mean_over_groups(seed):
    logits, targets, known = random_case(seed, rows=6, columns=9)
    membership = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3])
    groups = torch.nn.functional.one_hot(membership, 4).bool()
    v2t, t2v = grouped_many_to_many_loss(logits, targets, groups, known)
    expected_v2t, expected_t2v = [], []
    for group in range(4):
        columns = membership == group
        scores, truth, usable = logits[:, columns], targets[:, columns], known[:, columns]
        if (truth.bool() & usable).any():
            expected_v2t.append(loop_many_to_many(scores, truth, usable))
            expected_t2v.append(loop_many_to_many(scores.T, truth.T, usable.T))
    assert v2t.item() == pytest.approx(sum(expected_v2t) / max(len(expected_v2t), 1), abs=1e-5)
    assert t2v.item() == pytest.approx(sum(expected_t2v) / max(len(expected_t2v), 1), abs=1e-5)


def test_many_to_many_leaves_other_positives_out_of_the_denominator():
    targets = torch.tensor([[1, 1, 0]])
    low = many_to_many_loss(torch.tensor([[1.0, -50.0, 0.0]]), targets)
    high = many_to_many_loss(torch.tensor([[1.0, 50.0, 0.0]]), targets)
    one = math.log(1 + math.exp(-1))
    assert high.item() == pytest.approx(one / 2, abs=1e-5)
    assert low.item() == pytest.approx((one + 50) / 2, abs=1e-3)


@pytest.mark.parametrize("value", [0, 1])
def test_a_batch_of_one_class_gives_zero_and_a_finite_gradient(value):
    logits = torch.randn(4, 3, requires_grad=True)
    loss = many_to_many_loss(logits, torch.full((4, 3), value))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad == 0).all()


def test_many_to_many_survives_large_scores():
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    loss = many_to_many_loss(logits, torch.tensor([[0, 1], [0, 1]]))
    loss.backward()
    assert loss.item() == pytest.approx(100, abs=1e-3)
    assert torch.isfinite(logits.grad).all()


def test_many_to_many_refuses_other_shapes():
    with pytest.raises(ValueError, match="shape"):
        many_to_many_loss(torch.zeros(2, 3), torch.zeros(3, 2))


def test_gradient_of_many_to_many():
    logits, targets, known = random_case(3)
    logits = logits.float().double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: many_to_many_loss(x, targets, known).double(), logits, eps=1e-2, atol=1e-2, rtol=1e-2
    )


def loop_binary_cross_entropy(similarity, target, eps):
    total = 0.0
    size = len(similarity)
    for i in range(size):
        for j in range(size):
            s = min(max(similarity[i][j], eps), 1 - eps)
            total -= math.log(s) if target[i][j] else math.log(1 - s)
    return total / size**2


def cosine(a, b):
    return (sum(x * y for x, y in zip(a, b, strict=True))) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_mix_diversity_equals_equation_4():
    features = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = []
    for image in features.tolist():
        similarity = [[cosine(a, b) for b in image] for a in image]
        identity = [[i == j for j in range(4)] for i in range(4)]
        expected.append(loop_binary_cross_entropy(similarity, identity, 1e-4))
    assert mix_diversity_loss(features).item() == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_mix_diversity_is_least_for_orthogonal_and_most_for_equal_tokens():
    orthogonal, equal = torch.eye(4)[None], torch.ones(1, 4, 4)
    assert mix_diversity_loss(orthogonal).item() == pytest.approx(1e-4, abs=2e-5)
    # 12 of 16 pairs are off the diagonal, each costs -log(1e-4).
    assert mix_diversity_loss(equal).item() == pytest.approx(12 / 16 * -math.log(1e-4), rel=1e-3)


def test_region_contrastive_equals_equation_7():
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(3, 5, 12, generator=generator).softmax(dim=-1)
    region = [0, 0, 1, 1, 2]
    blocks = [[a == b for b in region] for a in region]
    expected = [
        loop_binary_cross_entropy([[cosine(a, b) for b in image] for a in image], blocks, 1e-4)
        for image in maps.tolist()
    ]
    loss = region_contrastive_loss(maps, torch.tensor(blocks).float())
    assert loss.item() == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_region_contrastive_refuses_a_wrong_block_matrix():
    with pytest.raises(ValueError, match="block matrix"):
        region_contrastive_loss(torch.ones(1, 5, 12), torch.ones(4, 4))


def test_losses_take_one_image_without_a_batch_axis():
    features = torch.randn(4, 6)
    assert mix_diversity_loss(features).item() == pytest.approx(mix_diversity_loss(features[None]).item())
    maps, blocks = torch.rand(5, 3), torch.eye(5)
    assert region_contrastive_loss(maps, blocks).item() == pytest.approx(
        region_contrastive_loss(maps[None], blocks).item()
    )


def test_weighted_binary_cross_entropy_by_hand():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    known = torch.tensor([[True, True], [True, False], [True, True]])
    rate = torch.tensor([0.2, 0.9])
    total = 0.0
    for row in range(3):
        for column in range(2):
            if known[row, column]:
                p = 1 / (1 + math.exp(-float(logits[row, column])))
                r = float(rate[column])
                total -= math.exp(1 - r) * math.log(p) if targets[row, column] else math.exp(r) * math.log(1 - p)
    assert float(weighted_binary_cross_entropy(logits, targets, rate, known)) == pytest.approx(total / 3, rel=1e-5)
