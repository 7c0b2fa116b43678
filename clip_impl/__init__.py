"""CLIP, self-contained: both towers, the tokenizer, preprocessing, and a reader for every usual weight format.

    model, preprocess = clip_impl.load("ViT-B-16.pt")
    image = preprocess(Image.open("crop.jpg"))[None]
    logits_per_image, logits_per_text = model(image, clip_impl.tokenize(["a hat", "a backpack"]))

Names follow OpenAI's package: parameters, `load`, `tokenize`, `encode_image`, `encode_text`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from clip_impl.config import TINY, VIT_B_16, CLIPConfig, TextConfig, VisionConfig

if TYPE_CHECKING:
    from clip_impl.model import CLIP
    from clip_impl.preprocess import Preprocess
    from clip_impl.tokenizer import tokenize
    from clip_impl.weights import load, read_state_dict

__all__ = ["CLIP", "TINY", "VIT_B_16", "CLIPConfig", "Preprocess", "TextConfig", "VisionConfig"]
__all__ += ["load", "read_state_dict", "tokenize"]

_MODULES = {"load": "weights", "read_state_dict": "weights", "tokenize": "tokenizer"}
_MODULES |= {"CLIP": "model", "Preprocess": "preprocess"}


def __getattr__(name: str) -> object:
    """Loads what needs torch on first use: the tokenizer and the configuration need none."""
    if name in _MODULES:
        return getattr(import_module(f"clip_impl.{_MODULES[name]}"), name)
    raise AttributeError(f"module clip_impl has no attribute {name!r}")
