"""VTB: the fusion equals torch's own layers, texts take part together, one classifier per attribute."""

from __future__ import annotations

import torch
from torch import nn

from clip_impl import tokenize


def test_the_fusion_equals_torchs_layers(build, texts):
    """Oracle: nn.MultiheadAttention with the last block's weights over [texts, class token, patches]."""
    model = build("vtb")
    vision = model.clip.visual
    nn.init.normal_(model.token_type)
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        output = model(images)
        plain = vision.forward_features(images, all_tokens=True)
        seen = vision.ln_post(plain.tokens)
        assert torch.allclose(output.tokens, seen)
        words = model.clip.encode_text(tokenize([text.phrase for text in texts]))
        words = (model.word_embed(words) + model.token_type[0]).expand(2, -1, -1)
        sequence = torch.cat([words, model.visual_embed(seen) + model.token_type[1]], dim=1)
        block = vision.transformer.resblocks[-1]
        attention = nn.MultiheadAttention(32, 4, batch_first=True).double()
        attention.in_proj_weight.copy_(block.attn.in_proj_weight)
        attention.in_proj_bias.copy_(block.attn.in_proj_bias)
        attention.out_proj.load_state_dict(block.attn.out_proj.state_dict())
        normed = block.ln_1(sequence)
        attended, weights = attention(normed, normed, normed)
        fused = sequence + attended
        fused = vision.ln_post(fused + block.mlp(block.ln_2(fused)))
        logits = torch.stack(
            [fused[:, z] @ model.classifier_weight[z] + model.classifier_bias[z] for z in range(len(texts))], dim=1
        )
        expected = model.norm(logits)
    assert torch.allclose(output.scores, expected, atol=1e-5)  # features go through fp32 on the way
    share = weights[:, : len(texts), len(texts) + 1 :]
    share = share / share.sum(dim=-1, keepdim=True)
    assert torch.allclose(output.attention_maps, share.to(output.attention_maps), atol=1e-6)
