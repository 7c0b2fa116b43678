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


def loop_many_to_many(logits, targets, known):
    rows = []
    for r in range(len(logits)):
        usable = [c for c in range(logits.shape[1]) if known[r][c]]
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


def random_case(seed, rows=6, columns=9):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    targets = (torch.rand(rows, columns, generator=generator) < 0.3).double()
    known = torch.rand(rows, columns, generator=generator) < 0.8
    return logits, targets, known


def one_group(columns):
    return torch.ones(columns, 1, dtype=torch.bool)


def test_many_to_many_by_hand():
    # Row 0: positive 0, negatives 1 and 2: log((e^2 + e^0 + e^1) / e^2). Row 1 has no positive, row 2 no negative: 0.
    logits = torch.tensor([[2.0, 0.0, 1.0], [1.0, 2.0, 3.0], [5.0, 1.0, 2.0]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    expected = math.log((math.e**2 + 1 + math.e) / math.e**2) / 2
    assert many_to_many_loss(logits, targets).item() == pytest.approx(expected, abs=1e-6)
    assert grouped_many_to_many_loss(logits, targets, one_group(3))[0].item() == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_loss_that_trains_is_the_mean_over_groups_of_the_definition(seed, masked):
    logits, targets, known = random_case(seed)
    known = known if masked else torch.ones_like(known)
    membership = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3])
    groups = torch.nn.functional.one_hot(membership, 4).bool()
    v2t, t2v = grouped_many_to_many_loss(logits, targets, groups, known if masked else None)
    expected = []
    for group in range(4):
        scores, truth, usable = (part[:, membership == group] for part in (logits, targets, known))
        if (truth.bool() & usable).any():
            expected.append((loop_many_to_many(scores, truth, usable), loop_many_to_many(scores.T, truth.T, usable.T)))
    count = max(len(expected), 1)
    assert v2t.item() == pytest.approx(sum(a for a, _ in expected) / count, abs=1e-5)
    assert t2v.item() == pytest.approx(sum(b for _, b in expected) / count, abs=1e-5)


@pytest.mark.parametrize("value", [0, 1])
def test_a_batch_of_one_class_gives_zero_and_a_finite_gradient(value):
    logits = torch.randn(4, 3, requires_grad=True)
    v2t, t2v = grouped_many_to_many_loss(logits, torch.full((4, 3), value), one_group(3))
    (v2t + t2v).backward()
    assert (v2t.item(), t2v.item()) == (0, 0)
    assert (logits.grad == 0).all()


def test_large_scores_stay_finite():
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    v2t, t2v = grouped_many_to_many_loss(logits, torch.tensor([[0, 1], [0, 1]]), one_group(2))
    (v2t + t2v).backward()
    assert v2t.item() == pytest.approx(100, abs=1e-3)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: many_to_many_loss(torch.zeros(2, 3), torch.zeros(3, 2)), "one shape"),
        (lambda: many_to_many_loss(torch.zeros(3), torch.zeros(3)), "one shape"),
        (lambda: many_to_many_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2).bool()), "one shape"),
        (lambda: region_contrastive_loss(torch.ones(1, 5, 12), torch.ones(4, 4)), "block matrix"),
    ],
)
def test_wrong_shapes_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def loop_similarity_loss(rows, target, eps):
    """Mean over the pairs of rows of the cross-entropy between their clamped cosine and the target."""
    total = 0.0
    for a, wanted in zip(rows, target, strict=True):
        for b, same in zip(rows, wanted, strict=True):
            norms = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            cosine = sum(x * y for x, y in zip(a, b, strict=True)) / norms
            s = min(max(cosine, eps), 1 - eps)
            total -= math.log(s) if same else math.log(1 - s)
    return total / len(rows) ** 2


@pytest.mark.parametrize("eps", [1e-4, 0.2])
def test_the_similarity_losses_are_equations_4_and_7(eps):
    features = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    identity = [[i == j for j in range(4)] for i in range(4)]
    expected = [loop_similarity_loss(image, identity, eps) for image in features.tolist()]
    assert mix_diversity_loss(features, eps=eps).item() == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert mix_diversity_loss(features[0], eps=eps).item() == pytest.approx(expected[0], rel=1e-4)
    maps = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1)).softmax(dim=-1)
    region = [0, 0, 1, 1, 2]
    blocks = [[a == b for b in region] for a in region]
    expected = [loop_similarity_loss(image, blocks, eps) for image in maps.tolist()]
    loss = region_contrastive_loss(maps, torch.tensor(blocks).float(), eps=eps)
    assert loss.item() == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_the_default_clamp_is_1e_4():
    """12 of the 16 pairs of four equal tokens are off the diagonal."""
    assert mix_diversity_loss(torch.ones(1, 4, 4)).item() == pytest.approx(12 / 16 * -math.log(1e-4), rel=1e-3)
    assert mix_diversity_loss(torch.full((2, 3), math.nan)).isnan()


def test_weighted_binary_cross_entropy_by_hand():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    known = torch.tensor([[True, True], [True, False], [True, True]])
    rate = torch.tensor([0.2, 0.9])
    total = 0.0
    for row, column in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1)):
        p = 1 / (1 + math.exp(-float(logits[row, column])))
        r = float(rate[column])
        total -= math.exp(1 - r) * math.log(p) if targets[row, column] else math.exp(r) * math.log(1 - p)
    assert float(weighted_binary_cross_entropy(logits, targets, rate, known)) == pytest.approx(total / 3, rel=1e-5)
