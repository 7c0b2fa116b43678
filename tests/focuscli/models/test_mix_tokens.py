"""The masked attention call against Eq. 2 and 3 written as separate, unmasked calls."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from focuscli.models.mix_tokens import MixTokens, mix_attention_mask


@pytest.fixture
def tower(clip):
    with torch.no_grad():
        for parameter in clip.visual.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return clip.visual.double()


def attend(block, queries, keys):
    """One block's attention of query tokens over key tokens, from its parameters alone: [B, Q, W], [B, S, W]."""
    attention = block.attn
    width, heads = queries.shape[-1], attention.heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias

    def project(x, part):
        rows = slice(part * width, (part + 1) * width)
        return F.linear(x, weight[rows], bias[rows]).unflatten(-1, (heads, -1)).transpose(1, 2)

    query, key, value = project(queries, 0), project(keys, 1), project(keys, 2)
    weights = (query @ key.mT / (width // heads) ** 0.5).softmax(dim=-1)
    return attention.out_proj((weights @ value).transpose(1, 2).flatten(2))


def separate_calls(visual, images, tokens, num_global, num_local, partitions):
    """Eq. 2 and 3: patch stream, global tokens over all patches, local tokens with the subset as a batch axis."""
    patches = visual.conv1(images).flatten(2).mT
    batch, count, width = patches.shape
    stream = torch.cat([visual.class_embedding.expand(batch, 1, width), patches], 1) + visual.positional_embedding
    stream, mix = visual.ln_pre(stream), visual.ln_pre(tokens.expand(batch, -1, -1))
    for block in visual.transformer.resblocks:
        normed, asking = block.ln_1(stream), block.ln_1(mix)
        keys = normed[:, 1:]
        answers = [attend(block, asking[:, :num_global], keys)]
        per_subset = asking[:, num_global:].reshape(batch * partitions, num_local // partitions, width)
        subsets = keys.reshape(batch * partitions, count // partitions, width)
        answers.append(attend(block, per_subset, subsets).reshape(batch, num_local, width))
        mix = mix + torch.cat(answers, dim=1)
        mix = mix + block.mlp(block.ln_2(mix))
        stream = stream + attend(block, normed, normed)
        stream = stream + block.mlp(block.ln_2(stream))
    return mix, stream


@pytest.mark.parametrize(("num_global", "num_local", "partitions"), [(8, 4, 4), (2, 8, 4), (0, 4, 2), (5, 0, 4)])
def test_the_mask_equals_separate_calls(tower, num_global, num_local, partitions):
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    tokens = torch.randn(num_global + num_local, 32, dtype=torch.float64)
    mask = mix_attention_mask(num_global, num_local, partitions, patches=32)
    with torch.no_grad():
        masked = tower.forward_features(images, tokens, mask, all_tokens=True)
        mix, stream = separate_calls(tower, images, tokens, num_global, num_local, partitions)
    assert (masked.tokens - torch.cat([mix, stream], dim=1)).abs().max() < 1e-11


def test_the_class_token_is_plain_clips(tower):
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    tokens, mask = MixTokens(12, torch.zeros(32), noise=1.0).double().tokens, mix_attention_mask(8, 4, 4, 32)
    with torch.no_grad():
        plain = tower(images)
        with_tokens = tower.forward_features(images, tokens, mask, all_tokens=True)
    assert (tower.project(with_tokens.tokens[:, 12]) - plain).abs().max() < 1e-11


def test_the_mask_by_hand():
    # One global token, two local tokens, two subsets of two patches. Order: g, l0, l1, class, p0, p1, p2, p3.
    expected = [
        [0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1],
        *[[0, 0, 0, 1, 1, 1, 1, 1]] * 5,
    ]
    assert mix_attention_mask(1, 2, 2, 4).int().tolist() == expected


@pytest.mark.parametrize(("num_local", "partitions", "patches"), [(4, 4, 30), (5, 4, 32)])
def test_what_does_not_divide_is_refused(num_local, partitions, patches):
    with pytest.raises(ValueError, match="divide"):
        mix_attention_mask(8, num_local, partitions, patches)
