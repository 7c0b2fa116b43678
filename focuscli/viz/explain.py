"""Attention maps of images and texts as pictures: model in, Pillow images out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from focuscli.data.images import load_image
from focuscli.data.schema import Text
from focuscli.errors import UsageError
from focuscli.inference.predict import TextDecision, decide
from focuscli.inference.recognizer import Attention, Recognizer
from focuscli.viz.grid import Cell, attention_grid, token_grid, unit_range


def explain(
    recognizer: Recognizer,
    paths: Sequence[Path],
    texts: Sequence[Text],
    *,
    layers: int = 1,
    alpha: float = 0.5,
    tokens: bool = False,
) -> tuple[Image.Image, Attention, list[TextDecision]]:
    """One grid: a row per image, a column per text, and over each crop the heat of `Attention`, scaled to 0..1. With `tokens`
    instead each Mix Token's own attention over the first image, and how much each text takes from it.

    Raises:
        InputError: an image cannot be read. UsageError: a text is empty or too long, or the method has no Mix Tokens.
    """
    names = recognizer.model.token_names
    if tokens and not names:
        method = recognizer.config.model.method
        raise UsageError(f"Method {method} has no tokens of its own to show.", "Leave --tokens out.")
    images = [load_image(path) for path in paths]
    attention = recognizer.attention(images, texts, layers=layers)
    decisions = decide(recognizer.vocabulary, texts)
    if tokens:
        maps = np.stack([unit_range(heat) for heat in attention.token_maps[0]])
        phrases = [text.phrase for text in texts]
        return token_grid(images[0], maps, names, attention.token_weights[0], phrases), attention, decisions
    rows = []
    for image, heats, scores in zip(images, attention.heat, attention.scores, strict=True):
        cells = [
            Cell(unit_range(heat), decision.text.phrase, float(score), decision)
            for heat, score, decision in zip(heats, scores, decisions, strict=True)
        ]
        rows.append((image, cells))
    caption = f"weights: {recognizer.weights} · trained on {recognizer.trained_on} · thresholds: "
    caption += ", ".join(sorted({decision.threshold_source for decision in decisions}))
    return attention_grid(rows, alpha=alpha, caption=caption), attention, decisions
