"""Small models as if they were trained, and a gallery of their features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_impl import CLIP, TextConfig, VisionConfig
from clip_impl.config import CLIPConfig
from focuscli.config import RunConfig, build_config, method_entry
from focuscli.data.schema import Attribute, AttributeSchema, Group
from focuscli.engine.checkpoint import Checkpoint
from focuscli.inference.recognizer import Recognizer
from focuscli.models.build import build_method
from focuscli.tools.gallery.binding import bind
from focuscli.tools.gallery.build import sketch_gallery
from focuscli.tools.gallery.manifest import Manifest, write_manifest
from focuscli.tools.gallery.reader import Gallery, open_gallery
from focuscli.tools.gallery.scorer import fold_model
from focuscli.tools.gallery.shards import Crop, shard_name, write_shard

SHAPE = CLIPConfig(
    VisionConfig(image_size=(32, 16), patch_size=8, width=32, layers=1, heads=4),
    TextConfig(width=32, layers=1, heads=2),
    embed_dim=16,
)
SCHEMA = AttributeSchema(
    name="small",
    groups=(Group(name="accessory"), Group(name="lower")),
    attributes=(
        Attribute(name="Hat", phrase="hat", region="head", category="accessory", group="accessory"),
        Attribute(name="Scarf", phrase="red scarf", region="upper", category="accessory", group="accessory"),
        Attribute(name="Jeans", phrase="blue jeans", region="lower", category="clothes", group="lower"),
    ),
)


def build_recognizer(folder: Path, method: str = "focus", *, seed: int = 0, precision: str = "fp32", **model: object):
    """A model with random weights; its AVFE, if any, is the identity plus a perturbation, with biases."""
    shape = {"preset": "tiny", "image_size": [32, 16], "patch": 8, "attention_heads": 4, "global_tokens": 2}
    settings = {"model": {"method": method, **shape, **model}}
    config: RunConfig = build_config([("entry", method_entry(method).changes), ("test", settings)])[0]
    torch.manual_seed(seed)
    texts = SCHEMA.texts(complements=False)
    built = build_method(config.model, CLIP(SHAPE), texts)
    attention = getattr(built, "avfe", None)
    if attention is not None:
        with torch.no_grad():
            for part in attention.parameters():
                part.add_(0.15 * torch.randn_like(part))
    state = {
        "thresholds": {"Hat": 2.0, "Scarf": 1.0, "Jeans": -1.0},
        "global_threshold": 0.7,
        "threshold_source": "val",
        "weights": "random",
        "data": {"fingerprint": "", "name": "small", "train_images": 3, "train_split": "train"},
        "step": 7,
    }
    return Recognizer(built, config, SCHEMA, Checkpoint(folder, state), torch.device("cpu"), precision)


@pytest.fixture(scope="session")
def recognizer(tmp_path_factory):
    return build_recognizer(tmp_path_factory.mktemp("run"))


@pytest.fixture
def build(tmp_path):
    """Make a recognizer: build("poar"), build("focus", avfe=False), build(seed=1)."""
    return lambda method="focus", **changes: build_recognizer(tmp_path / "run", method, **changes)


def draw_features(count: int, tokens: int, width: int = SHAPE.embed_dim, seed: int = 0) -> np.ndarray:
    """Features as a trained model has them: tokens of a crop are nearly orthogonal, their lengths vary."""
    generator = np.random.default_rng(seed)
    means = 3 * generator.standard_normal((tokens, width)) / width**0.5
    noise = generator.standard_normal((count, tokens, width)) / width**0.5
    return ((means + noise) * generator.uniform(1, 5, (count, 1, 1))).astype(np.float16)


def store_features(folder: Path, recognizer: Recognizer, tokens: np.ndarray, size: int, *, sketch: int = 8) -> Gallery:
    """A finished gallery of given features, `size` crops a shard, `sketch` directions (0: no sketch)."""
    shards = []
    for number, start in enumerate(range(0, len(tokens), size)):
        part = tokens[start : start + size]
        crops = [Crop(f"{start + row:04}.png", 1, 1) for row in range(len(part))]
        shards.append(write_shard(folder, shard_name(number, crops), part, crops, []))
    source = {"kind": "folder", "root": str(folder), "name": "made", "split": ""}
    manifest = Manifest(
        bind(recognizer), *tokens.shape[1:], source, shards=tuple((shard.name, shard.crops) for shard in shards)
    )
    folded = fold_model(recognizer.model)
    if folded is not None and sketch:
        texts = folded.fold(recognizer.encode_texts(recognizer.model.texts))
        manifest = replace(manifest, basis=sketch_gallery(folder, manifest, folded, texts, size=sketch))
    write_manifest(folder, replace(manifest, complete=True))
    return open_gallery(folder)


@pytest.fixture
def gallery(tmp_path, recognizer) -> Gallery:
    """300 crops in shards of 128."""
    tokens = draw_features(300, len(recognizer.model.token_names), SHAPE.embed_dim)
    return store_features(tmp_path / "gallery", recognizer, tokens, 128)


@pytest.fixture
def features():
    """A function (count, tokens, width=16, seed=0) that draws features [count, tokens, width] in half precision."""
    return draw_features


@pytest.fixture
def store():
    """A function (folder, recognizer, features, crops per shard, sketch=8) that makes a gallery of given features."""
    return store_features


@pytest.fixture
def crops(tmp_path) -> Path:
    """A folder of 10 images and one that is none: 00.png to 09.png, 04b.png."""
    folder = tmp_path / "crops"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(10):
        Image.fromarray(generator.integers(0, 256, (20, 10, 3)).astype(np.uint8)).save(folder / f"{number:02}.png")
    (folder / "04b.png").write_bytes(b"no image")
    return folder
