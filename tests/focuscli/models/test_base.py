"""What all methods share: what is frozen, attention averaged, unseen texts refused."""

from __future__ import annotations

import pytest
import torch

from focuscli.data.schema import Text
from focuscli.errors import UsageError
from focuscli.models.base import mean_patch_attention, refuse_unseen


@pytest.mark.parametrize("text_tower", [True, False])
def test_freeze(build, text_tower):
    model = build("focus")
    model.freeze(text_tower=text_tower)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "clip.logit_scale" not in trained
    assert "clip.token_embedding.weight" not in trained
    assert ("clip.text_projection" in trained) is not text_tower
    assert {"clip.visual.proj", "prompts.context", "mix_tokens.tokens", "avfe.query.weight"} <= trained


def test_mean_patch_attention_is_the_mean_over_heads_and_layers():
    layers = [torch.rand(2, 3, 9, 9) for _ in range(2)]  # 2 readers, class token, 3 x 2 patches
    found = mean_patch_attention(layers, slice(0, 2), (3, 2))
    assert found.shape == (2, 2, 3, 2)
    expected = sum(layer[1, head, 1, 3:] for layer in layers for head in range(3)) / 6
    assert torch.allclose(found[1, 1].flatten(), expected)


def test_refuse_unseen(texts):
    refuse_unseen("vtb", texts[1:3], texts)
    with pytest.raises(UsageError, match='cannot score "red scarf"'):
        refuse_unseen("vtb", [Text("red scarf", "upper", "accessory", "")], texts)
