"""FOCUS: the score's definition, the ablation switches, what trains, attention over patches; and its criterion."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from focuscli.config import LossConfig
from focuscli.models.base import MethodOutput, mean_patch_attention
from focuscli.models.focus import FocusCriterion
from focuscli.models.losses import grouped_many_to_many_loss, mix_diversity_loss, region_contrastive_loss

IMAGES = torch.randn(2, 3, 64, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_switches(build):
    plain = build("focus", rlp=False, mgmt=False, avfe=False)
    output = plain(IMAGES)
    image = plain.clip.encode_image(IMAGES, normalize=True)
    expected = image @ F.normalize(plain.encode_texts(), dim=-1).mT
    assert output.tokens.shape == (2, 1, 16)
    assert torch.allclose(output.scores.double(), expected / 0.07, atol=1e-4)
    assert plain.prompts.context.numel() == 0
    averaged = build("focus", avfe=False)(IMAGES)
    assert torch.allclose(averaged.attribute_features[:, 0], averaged.tokens.mean(dim=1))


def test_patch_attention_is_the_mean_over_heads_and_layers():
    layers = [torch.rand(2, 3, 9, 9) for _ in range(2)]  # 2 tokens, class token, 3 x 2 patches
    found = mean_patch_attention(layers, 2, (3, 2))
    assert found.shape == (2, 2, 3, 2)
    expected = sum(layer[1, head, 1, 3:] for layer in layers for head in range(3)) / 6
    assert torch.allclose(found[1, 1].flatten(), expected)


@pytest.mark.parametrize("text_tower", [True, False])
def test_what_trains(build, text_tower):
    model = build("focus").train()
    model.freeze(text_tower=text_tower)
    model(IMAGES).scores.sum().backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"clip.visual.proj", "prompts.context", "mix_tokens.tokens", "avfe.query.weight"} <= trained.keys()
    assert not {"clip.logit_scale", "clip.token_embedding.weight"} & trained.keys()
    for name in ("clip.transformer.resblocks.0.mlp.c_fc.weight", "clip.text_projection"):
        assert (name in trained) is not text_tower
    assert all(parameter.grad is not None for parameter in trained.values())


def test_gradient_checkpointing_changes_nothing(build):
    gradients = []
    for enabled in (False, True):
        model = build("focus").train()
        model.checkpoint_gradients(enabled)
        model(IMAGES).scores.sum().backward()
        gradients.append(model.clip.visual.conv1.weight.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("over", "ramp", "progress"), [("image", 0.0, 0.0), ("batch", 0.8, 0.2), ("image", 0.5, 0.9)])
def test_the_criterion_is_equation_8(over, ramp, progress):
    torch.manual_seed(0)
    weights = LossConfig(v2t=0.5, t2v=2.0, lsim=3.0, racl=0.7, racl_over=over, racl_ramp=ramp, eps=0.01)
    groups, blocks = torch.tensor([[1, 0], [1, 0], [0, 1]]).bool(), torch.eye(3)
    tokens, scores, maps = torch.randn(4, 5, 6), torch.randn(4, 3), torch.rand(4, 3, 5).softmax(dim=-1)
    targets, known = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]).float(), torch.rand(4, 3) < 0.9
    criterion = FocusCriterion(weights, groups=groups, blocks=blocks, positive_rate=torch.zeros(3))
    losses = criterion(MethodOutput(scores, tokens, maps, tokens), targets, known, progress)
    v2t, t2v = grouped_many_to_many_loss(scores, targets, groups, known)
    lsim = mix_diversity_loss(tokens, eps=0.01)
    racl = region_contrastive_loss(maps.mean(dim=0) if over == "batch" else maps, blocks, eps=0.01)
    share = min(1.0, progress / ramp) if ramp else 1.0
    expected = {"v2t": v2t, "t2v": t2v, "lsim": lsim, "racl": racl}
    expected["loss"] = 0.5 * v2t + 2.0 * t2v + 3.0 * lsim + share * 0.7 * racl
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-5
    )
    assert not [*criterion.parameters()]

    # A similarity loss of weight 0 is not computed.
    criterion.weights = LossConfig(lsim=0.0, racl=0.0)
    broken = torch.full_like(tokens, torch.nan)
    losses = criterion(MethodOutput(scores, broken, broken, broken), targets, known, progress)
    assert (losses["lsim"].item(), losses["racl"].item()) == (0, 0)
    assert losses["loss"].isfinite()
