"""Attribute-guided cross-attention against torch's own module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from focuscli.models.cross_attention import AttributeCrossAttention


def test_equal_to_multihead_attention():
    torch.manual_seed(0)
    ours = AttributeCrossAttention(32, 8, init="random")
    theirs = nn.MultiheadAttention(32, 8, batch_first=True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
        texts, mix = torch.randn(7, 32), torch.randn(3, 12, 32)
        features, maps = ours(texts, mix)
        expected, weights = theirs(texts.expand(3, -1, -1), mix, mix, average_attn_weights=True)
    assert (features - expected).abs().max() < 1e-5
    assert (maps - weights).abs().max() < 1e-6


def test_identity_initialisation_keeps_the_joint_space():
    """With one Mix Token an untrained module returns that token, whatever the text."""
    mix = torch.randn(2, 1, 16)
    features, _ = AttributeCrossAttention(16, 4)(torch.randn(5, 16), mix)
    assert torch.allclose(features, mix.expand(-1, 5, -1), atol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads"):
        AttributeCrossAttention(30, 8)
