"""A tiny CLIP and a few texts for the tests of methods."""

from __future__ import annotations

import pytest
import torch

from clip_impl import CLIP, TextConfig, VisionConfig
from clip_impl.config import CLIPConfig
from focuscli.config import ModelConfig
from focuscli.data.schema import Text
from focuscli.models.build import build_method

TEXTS = (
    Text(phrase="hat", region="head", category="accessory", group="accessory", attribute="Hat"),
    Text(phrase="scarf", region="upper", category="accessory", group="accessory", attribute="Scarf"),
    Text(phrase="boots", region="foot", category="footwear", group="footwear", attribute="Boots"),
    Text(phrase="trousers", region="lower", category="clothes", group="lower", attribute="Trousers"),
    Text(phrase="young", region="whole", category="age", group="age", attribute="Young"),
)


SHAPE = CLIPConfig(
    VisionConfig(image_size=(64, 32), patch_size=8, width=32, layers=2, heads=4),
    TextConfig(width=32, layers=1, heads=2),
    embed_dim=16,
)


@pytest.fixture
def texts():
    return TEXTS


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return CLIP(SHAPE)


@pytest.fixture
def build():
    """Make a method's model of a tiny shape, 8 x 4 patches, in double precision and evaluation mode."""

    def make(name: str, **changes):
        torch.manual_seed(0)
        config = ModelConfig(method=name, preset="tiny", image_size=(64, 32), **changes)
        return build_method(config, CLIP(SHAPE), TEXTS).double().eval()

    return make
