"""The table of methods: every row works through the one interface; unknown names are refused."""

from __future__ import annotations

import pytest
import torch

from focuscli.config import METHODS
from focuscli.models.base import Method


@pytest.mark.parametrize("name", METHODS)
def test_every_method_scores(build, texts, name):
    changes = dict(METHODS[name].changes.get("model", {}))
    model = build(name, **changes)
    assert isinstance(model, Method)
    assert model.texts == texts
    images = torch.randn(6, 3, 64, 32, dtype=torch.float64)
    output = model(images)
    assert output.scores.shape == (6, len(texts))

    # The scores of chosen texts are those of all texts, in the order asked for.
    chosen = [texts[3], texts[0]]
    some = model.score(output.tokens, model.encode_texts(chosen)).scores
    assert torch.allclose(some, output.scores[:, [3, 0]], atol=1e-9)

    # Attention: what a text takes from tokens, and tokens from patches.
    shown = model.encode_image(images, attention_layers=1)
    maps = model.score(shown.tokens, model.encode_texts()).attention_maps
    assert torch.allclose(maps.sum(dim=-1), torch.ones_like(maps[..., 0]), atol=1e-6)
    assert shown.patch_attention.shape == (6, maps.shape[-1], 8, 4)
    assert len(model.token_names) in (0, maps.shape[-1])
