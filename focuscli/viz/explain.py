"""Attention maps of images and texts as pictures and as files: model in, Pillow images and NumPy arrays out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focuscli.data.images import load_image
from focuscli.errors import UsageError
from focuscli.inference.predict import TextDecision
from focuscli.inference.recognizer import Attention, Recognizer
from focuscli.storage.files import write_json
from focuscli.viz.grid import EACH_ITS_OWN, Cell, Row, attention_grid, paginate, token_grid, unit_range


@dataclass(frozen=True)
class ModelMaps:
    """A model, its name in pictures, and its attention and decisions for some images and texts."""

    name: str
    recognizer: Recognizer
    decisions: list[TextDecision]
    attention: Attention

    @property
    def method(self) -> str:
        return self.recognizer.config.model.method

    @property
    def origin(self) -> str:
        """The model, its training and its thresholds, in words."""
        sources = ", ".join(sorted({decision.threshold_source for decision in self.decisions}))
        return f"{self.name}: {self.recognizer.about}, thresholds: {sources}"


def attention_pages(
    paths: Sequence[Path], models: Sequence[ModelMaps], *, alpha: float = 0.5, shared_scale: bool = False
) -> Iterator[Image.Image]:
    """A row per image and model, a column per text, and over each crop the model's heat in colours; see `paginate`.

    Each panel's heat is scaled to 0..1, with `shared_scale` from the least to the most of all panels on all pages.

    Raises:
        InputError: an image cannot be read.
    """
    span, scale = _shared([model.attention.heat for model in models]) if shared_scale else (None, EACH_ITS_OWN)
    count = Counter(path.name for path in paths)
    pages = paginate(len(paths), len(models), len(models[0].decisions))
    for number, blocks in enumerate(pages, start=1):
        rows = []
        for place, texts in blocks:
            path = paths[place]
            image, name = load_image(path), path.name if count[path.name] == 1 else str(path)
            for model in models:
                cells = []
                for text in texts:
                    heat, decision = unit_range(model.attention.heat[place, text], span), model.decisions[text]
                    score = float(model.attention.scores[place, text])
                    cells.append(Cell(heat, decision.text.phrase, score, decision))
                labels = [model.method, model.name] if len(models) > 1 else []
                rows.append(Row(image, cells, name if model is models[0] else "", labels))
        page = [f"page {number} of {len(pages)}"] if len(pages) > 1 else []
        yield attention_grid(rows, alpha=alpha, scale=scale, captions=[model.origin for model in models] + page)


def token_page(path: Path, model: ModelMaps, *, alpha: float = 0.5, shared_scale: bool = False) -> Image.Image:
    """Each Mix Token's own attention over the first image, and how much each text takes from it.

    Raises:
        InputError: the image cannot be read. UsageError: the method has no Mix Tokens.
    """
    names = model.recognizer.model.token_names
    if not names:
        raise UsageError(f"Method {model.method} has no tokens of its own to show.", "Leave --tokens out.")
    attention = model.attention
    span, scale = _shared([attention.token_maps[0]]) if shared_scale else (None, EACH_ITS_OWN)
    named = zip(attention.token_maps[0], names, strict=True)
    row = Row(load_image(path), [Cell(unit_range(heat, span), name) for heat, name in named], path.name)
    maps = attention_grid([row], alpha=alpha, scale=scale, captions=[model.origin])
    return token_grid(maps, names, attention.token_weights[0], [decision.text.phrase for decision in model.decisions])


def write_maps(folder: Path, paths: Sequence[Path], models: Sequence[ModelMaps], *, tokens: bool = False) -> None:
    """Write each map, float32 [rows, columns] over patches and not scaled, as a .npy file of its own, and maps.json, which
    says of each file which image, text (with `tokens` which token) and model it belongs to, and the score."""
    entries: list[dict[str, Any]] = []
    for model in models:
        shown = model.attention.token_maps if tokens else model.attention.heat
        phrases = [decision.text.phrase for decision in model.decisions]
        titles = model.recognizer.model.token_names if tokens else phrases
        for path, maps, scores in zip(paths, shown, model.attention.scores, strict=True):
            for place, (title, heat) in enumerate(zip(titles, maps, strict=True)):
                file = f"{len(entries) + 1:05}-{_safe(path.stem)}-{_safe(title)}.npy"
                np.save(folder / file, heat, allow_pickle=False)
                about = {"token": title} if tokens else {"text": title, "score": round(float(scores[place]), 4)}
                entries.append({"file": file, "image": str(path), **about, "model": str(model.recognizer.folder)})
    write_json(folder / "maps.json", {"maps": entries})


def _safe(text: str) -> str:
    """The beginning of a text, with only letters, digits, - and _ of ASCII."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", text)[:40]


def _shared(maps: Sequence[np.ndarray]) -> tuple[tuple[float, float], tuple[str, str]]:
    """The least and the most of all maps, and the words for them at the ends of the colours."""
    low, high = min(float(heat.min()) for heat in maps), max(float(heat.max()) for heat in maps)
    return (low, high), (f"{low:.2g}", f"{high:.2g} of the attention on a patch; one scale for all panels")
