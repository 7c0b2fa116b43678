"""The assembled model: shapes, the score's definition, the ablation switches, the names of the checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clip_impl import CLIP, TextConfig, VisionConfig
from clip_impl.config import CLIPConfig
from focuscli.config import LossConfig, ModelConfig
from focuscli.data.schema import Text
from focuscli.models.build import clip_config
from focuscli.models.criterion import FocusCriterion
from focuscli.models.focus import FocusModel
from focuscli.models.losses import region_contrastive_loss

TEXTS = (
    Text(phrase="hat", region="head", category="accessory", group="head", attribute="Hat"),
    Text(phrase="T-shirt", region="upper", category="clothes", group="upper", attribute="Tshirt"),
    Text(phrase="trousers", region="lower", category="clothes", group="lower", attribute="Trousers"),
)


def build(**changes):
    torch.manual_seed(0)
    shape = CLIPConfig(
        VisionConfig(image_size=(64, 32), patch_size=8, width=32, layers=2, heads=4),
        TextConfig(width=32, layers=1, heads=2),
        embed_dim=32,
    )
    return FocusModel(CLIP(shape), ModelConfig(preset="tiny", image_size=(64, 32), **changes), TEXTS)


def test_scores_are_scaled_cosines():
    model = build()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        features, output = model(images)
        texts = model.encode_texts()
    assert features.tokens.shape == (2, 12, 32)
    cosine = torch.nn.functional.cosine_similarity(output.attribute_features, texts.expand(2, -1, -1), dim=-1)
    assert torch.allclose(output.scores, cosine / 0.07, atol=1e-4)
    assert output.attention_maps.shape == (2, 3, 12)


def test_switches():
    images = torch.randn(2, 3, 64, 32)
    plain = build(rlp=False, mgmt=False, avfe=False)
    with torch.no_grad():
        features, output = plain(images)
        expected = (
            plain.clip.encode_image(images, normalize=True)
            @ torch.nn.functional.normalize(plain.encode_texts(), dim=-1).mT
        )
        mean = build(avfe=False)
        mixed, averaged = mean(images)
    assert features.tokens.shape == (2, 1, 32)
    assert torch.allclose(output.scores, expected / 0.07, atol=1e-4)
    assert torch.allclose(averaged.attribute_features[:, 0], mixed.tokens.mean(dim=1))
    assert plain.mix_tokens is None
    assert plain.avfe is None
    assert plain.prompts.context.numel() == 0


def test_racl_over_each_image_or_over_the_batch():
    model, blocks = build(), torch.eye(3)
    features, output = model(torch.randn(4, 3, 64, 32))
    # Maps that differ from image to image, as trained ones do.
    output = replace(output, attention_maps=torch.rand(4, 3, 12).softmax(dim=-1))
    targets = (torch.rand(4, 3) > 0.5).float()

    def racl(over, progress=1.0):
        weights = LossConfig(racl_over=over, racl_ramp=1.0)
        constants = {"groups": torch.eye(3).bool(), "blocks": blocks, "positive_rate": torch.full((3,), 0.5)}
        criterion = FocusCriterion(weights, **constants)
        return criterion(features, output, targets, torch.ones_like(targets).bool(), progress)

    image, batch = racl("image"), racl("batch")
    assert image["racl"] == region_contrastive_loss(output.attention_maps, blocks)
    assert batch["racl"] == region_contrastive_loss(output.attention_maps.mean(dim=0), blocks)
    assert abs(image["racl"] - batch["racl"]) > 1e-3
    half = racl("batch", progress=0.5)
    assert torch.isclose(batch["loss"] - half["loss"], 0.5 * batch["racl"], rtol=1e-4)


def test_a_local_token_looks_at_its_stripe_only():
    model = build()
    with torch.no_grad():
        attention = model.encode_image(torch.randn(2, 3, 64, 32), attention_layers=1).patch_attention
    assert attention.shape == (2, 12, 8, 4)
    assert torch.allclose(attention.sum(dim=(2, 3)), torch.ones(2, 12), atol=1e-5)
    for token in range(4):
        outside = attention[:, 8 + token].clone()
        outside[:, 2 * token : 2 * token + 2] = 0
        assert (outside == 0).all()


def test_any_size_that_divides_works():
    model = build()
    with torch.no_grad():
        assert model.encode_image(torch.randn(1, 3, 32, 64)).tokens.shape == (1, 12, 32)
    with pytest.raises(ValueError, match="nearest that does: 64 x 32"):
        model.encode_image(torch.randn(1, 3, 65, 32))


@pytest.mark.parametrize("text_tower", [True, False])
def test_what_trains(text_tower):
    model = build()
    model.freeze(text_tower=text_tower)
    _, output = model(torch.randn(2, 3, 64, 32))
    output.scores.sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "clip.logit_scale" not in trained
    assert "prompts.context" in trained
    assert "mix_tokens.tokens" in trained
    assert "clip.token_embedding.weight" not in trained
    assert ("clip.transformer.resblocks.0.mlp.c_fc.weight" in trained) is not text_tower
    assert ("clip.text_projection" in trained) is not text_tower
    assert {name for name in trained if name.startswith("clip.visual.")}
    without_gradient = {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    }
    assert not without_gradient


def test_gradient_checkpointing_changes_nothing():
    gradients = []
    for checkpointing in (False, True):
        model = build().train()
        model.clip.visual.transformer.gradient_checkpointing = checkpointing
        _, output = model(torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(3)))
        output.scores.sum().backward()
        gradients.append(model.clip.visual.conv1.weight.grad)
    assert torch.equal(*gradients)


def test_names_in_the_checkpoint_are_a_contract():
    names = {name for name in build().state_dict() if not name.startswith("clip.")}
    parts = {f"avfe.{part}.{kind}" for part in ("query", "key", "value", "out") for kind in ("weight", "bias")}
    assert names == {"mix_tokens.tokens", "prompts.context", *parts}
    assert "clip.visual.transformer.resblocks.0.attn.in_proj_weight" in build().state_dict()


def test_presets_have_the_configured_input():
    assert clip_config(ModelConfig()).vision.grid == (14, 14)
    assert clip_config(ModelConfig(preset="tiny", image_size=(128, 64))).vision.grid == (16, 8)
