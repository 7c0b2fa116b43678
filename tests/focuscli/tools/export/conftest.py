"""Small models to export."""

from __future__ import annotations

import pytest
import torch

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.config import ModelConfig
from focuscli.data.schema import Text
from focuscli.models.build import build_method

TEXTS = (
    Text(phrase="hat", region="head", category="accessory", group="accessory", attribute="Hat"),
    Text(phrase="scarf", region="upper", category="accessory", group="accessory", attribute="Scarf"),
    Text(phrase="boots", region="foot", category="footwear", group="footwear", attribute="Boots"),
    Text(phrase="trousers", region="lower", category="clothes", group="lower", attribute="Trousers"),
    Text(phrase="bare head", region="head", category="accessory", group="accessory"),
)
UNSEEN = (
    Text(phrase="a very long green coat", region="upper", category="clothes", group=""),
    Text(phrase="dog", region="bag", category="carrying", group=""),
    Text(phrase="HAT", region="foot", category="accessory", group=""),
)


@pytest.fixture
def texts():
    return TEXTS


@pytest.fixture
def unseen():
    return UNSEEN


@pytest.fixture
def model():
    """Make a method's model of the smallest shape, in evaluation mode: random weights, all of them away from their
    initial values (zero biases and identities hide errors)."""

    def make(name: str, **changes):
        torch.manual_seed(0)
        shape = CLIPConfig(
            VisionConfig(image_size=(32, 16), patch_size=8, width=32, layers=1, heads=4),
            TextConfig(width=32, layers=1, heads=2, context_length=40),
            embed_dim=16,
        )
        config = ModelConfig(method=name, preset="tiny", image_size=(32, 16), **changes)
        built = build_method(config, CLIP(shape), TEXTS)
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return built.eval().requires_grad_(False)

    return make


@pytest.fixture
def pixels():
    """Random uint8 [N, 32, 16, 3]."""

    def make(count: int):
        generator = torch.Generator().manual_seed(count)
        return torch.randint(0, 256, (count, 32, 16, 3), generator=generator, dtype=torch.uint8)

    return make
