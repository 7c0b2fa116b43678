"""Small models as if they were trained, and galleries of features that they might have made."""

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
from focuscli.tools.gallery.folded import token_scorer
from focuscli.tools.gallery.index import new_gallery, trained_scores
from focuscli.tools.gallery.projection import fit_projection
from focuscli.tools.gallery.source import Source
from focuscli.tools.gallery.store import Crop, Part, SourceRecord

SHAPE = CLIPConfig(
    VisionConfig(image_size=(32, 16), patch_size=8, width=32, layers=1, heads=4),
    TextConfig(width=32, layers=1, heads=2),
    embed_dim=16,
)
SCHEMA = AttributeSchema(
    name="small",
    groups=(Group(name="accessory", complements=("bare head",)), Group(name="lower")),
    attributes=(
        Attribute(name="Hat", phrase="hat", region="head", category="accessory", group="accessory"),
        Attribute(name="Scarf", phrase="red scarf", region="upper", category="accessory", group="accessory"),
        Attribute(name="Jeans", phrase="blue jeans", region="lower", category="clothes", group="lower"),
    ),
)


def build_recognizer(folder: Path, method: str = "focus", *, seed: int = 0, precision: str = "fp32", **model: object):
    """A model with random weights; its cross-attention, if any, is the identity plus a perturbation, with biases."""
    shape = {"preset": "tiny", "image_size": [32, 16], "patch": 8, "attention_heads": 4, "global_tokens": 2}
    settings = {"model": {"method": method, **shape, **model}}
    config: RunConfig = build_config([("entry", method_entry(method).changes), ("test", settings)])[0]
    torch.manual_seed(seed)
    built = build_method(config.model, CLIP(SHAPE), SCHEMA.texts(complements=True))
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
        "epoch": 1.0,
        "config": {"train": {"epochs": 1}},
    }
    folder.mkdir(exist_ok=True)
    (folder / f"weights-{seed}.bin").write_text(f"seed {seed}")
    return Recognizer(built, config, SCHEMA, Checkpoint(folder, state), torch.device("cpu"), precision)


@pytest.fixture(scope="session")
def recognizer(tmp_path_factory):
    return build_recognizer(tmp_path_factory.mktemp("run"))


@pytest.fixture
def build(tmp_path):
    """Make a recognizer: build("poar"), build("focus", avfe=False), build(seed=1)."""
    return lambda method="focus", **changes: build_recognizer(tmp_path / "run", method, **changes)


@pytest.fixture
def features():
    """A function (count, tokens, width=16, seed=0) that draws features [count, tokens, width] in half precision as a trained
    model has them: tokens of a crop are nearly orthogonal, their lengths vary."""

    def draw(count: int, tokens: int, width: int = SHAPE.embed_dim, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        means = 3 * generator.standard_normal((tokens, width)) / width**0.5
        noise = generator.standard_normal((count, tokens, width)) / width**0.5
        return ((means + noise) * generator.uniform(1, 5, (count, 1, 1))).astype(np.float16)

    return draw


@pytest.fixture
def store(tmp_path):
    """A function (recognizer, features, crops per part, groups=None) that makes a finished gallery of given features."""

    def make(recognizer: Recognizer, tokens: np.ndarray, size: int, groups: list | None = None) -> Path:
        folder = tmp_path / "g"
        source = Source(SourceRecord("folder", "/images", "made", "", None if groups is None else "(.*)"), ())
        gallery = new_gallery(recognizer, recognizer.folder / "weights-0.bin", source, folder)
        replace(gallery, tokens=tokens.shape[1], complete=True).save()
        score = token_scorer(recognizer.model, recognizer.encode_texts(recognizer.model.texts))
        projection = fit_projection(tokens, score, torch.device("cpu"))
        projection.save(folder / "projection.npz")
        for number, start in enumerate(range(0, len(tokens), size)):
            rows, part = range(start, min(start + size, len(tokens))), Part(gallery, number)
            crops = [Crop(f"{row:04}.png", row, row, None if groups is None else groups[row]) for row in rows]
            part.save("projection", projection.project(tokens[rows]))
            part.write(tokens[rows], crops, trained_scores(recognizer, tokens[rows]))
        return folder

    return make


@pytest.fixture
def draw():
    """A function (path, seed) that writes an image."""

    def write(path: Path, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 10, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    return write


@pytest.fixture
def crops(tmp_path, draw) -> Path:
    """A folder of 10 images and one that is not: 00.png to 09.png, 04b.png."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in range(10):
        draw(folder / f"{number:02}.png", number)
    (folder / "04b.png").write_bytes(b"no image")
    return folder
