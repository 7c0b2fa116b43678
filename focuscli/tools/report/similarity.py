"""What region-aware contrastive learning and the diversity loss achieved: similarities before and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from focuscli.config import SCRATCH
from focuscli.data.images import chunks
from focuscli.data.loader import normalise, read_batches
from focuscli.data.regions import region_block_matrix, region_names
from focuscli.engine.device import autocast
from focuscli.errors import FocusError
from focuscli.inference.recognizer import Recognizer
from focuscli.models.base import Method
from focuscli.models.build import new_method
from focuscli.models.losses import mix_diversity_loss, region_contrastive_loss
from focuscli.storage.weights import resolve_weights

Matrix = NDArray[np.float64]
MOST_IMAGES = 256
BATCH = 32


@dataclass(frozen=True)
class BeforeAndAfter:
    """Both states of a run on the same images; only "after" training if the initial weights are not there any more."""

    images: int
    regions: dict[str, int]  # in the order of the matrices, with the number of their texts
    blocks: Matrix  # B [Z, Z] (Eq. 6) of these texts
    states: dict[str, dict[str, Any]]  # "before" and "after", see `_similarity`


@torch.inference_mode()
def before_and_after(
    recognizer: Recognizer, paths: Sequence[Path], *, workers: int, progress: Callable[[int, int], None]
) -> BeforeAndAfter | None:
    """Measure a run's checkpoint and its initial state on images evenly spaced over `paths`; None if it has no attention over
    Mix Tokens (MGMT or AVFE is off)."""
    config, device = recognizer.config, recognizer.device
    if not (config.model.mgmt and config.model.avfe):
        return None
    names = region_names(recognizer.model.texts, config.data.regions)
    regions = {name: names.count(name) for name in [*recognizer.schema.regions, *names] if name in names}
    order = sorted(range(len(names)), key=lambda index: [*regions].index(names[index]))
    texts = [recognizer.model.texts[index] for index in order]
    blocks = region_block_matrix(texts, config.data.regions).astype(np.float64)
    chosen = np.linspace(0, len(paths) - 1, min(MOST_IMAGES, len(paths))).round().astype(int)
    images = [paths[index] for index in chosen]
    states = {}
    for when, model in (("before", initial_model(recognizer)), ("after", recognizer.model)):
        if model is None:
            continue
        with autocast(device, recognizer.precision):
            features = model.encode_texts(texts)
        parts = []
        for crops in read_batches(images, config.model.image_size, chunks(len(images), BATCH), workers=workers):
            with autocast(device, recognizer.precision):
                mix = model.encode_image(normalise(crops, device)).tokens
                output = model.score(mix, features)
            parts.append([found.cpu().double() for found in (mix, output.attention_maps, output.attribute_features)])
            progress(min(BATCH * len(parts), len(images)), len(images))
        mix, attention, attribute_features = (torch.cat(found) for found in zip(*parts, strict=True))
        states[when] = _similarity(mix, attention, attribute_features, blocks, config.loss.eps)
    return BeforeAndAfter(len(images), regions, blocks, states)


def initial_model(recognizer: Recognizer) -> Method | None:
    """The model as it was before the first step of the run, from the same seed and CLIP weights; None if those are gone."""
    config = recognizer.config
    try:
        weights = None if recognizer.weights == SCRATCH else resolve_weights(config.train.weights or None)
        model, origin = new_method(config, recognizer.model.texts, weights)
    except FocusError:
        return None
    return model.to(recognizer.device).eval().requires_grad_(False) if origin == recognizer.weights else None


def _similarity(mix: Tensor, attention: Tensor, features: Tensor, blocks: Matrix, eps: float) -> dict[str, Any]:
    """Means over images, from Mix Tokens [N, K, D], attention [N, Z, K] and attribute features V [N, Z, D] of texts ordered by
    region; those over pairs are NaN if there is no such pair."""
    same = blocks > 0
    regions = same[np.unique(same.argmax(axis=1))]  # [regions, Z], the texts of each
    texts, tokens = _cosines(attention), _cosines(mix)
    return {
        "attention": texts,  # S_attn [Z, Z], cosine similarity of the texts' attention over Mix Tokens (Eq. 7)
        "mix": tokens,  # S_mix [K, K], cosine similarity of the Mix Tokens (Eq. 4)
        # [regions, K], share of each Mix Token in the attention of a region's texts; rows sum to 1
        "tokens": regions / regions.sum(axis=1, keepdims=True) @ attention.mean(dim=0).numpy(),
        "same_region": _off_diagonal(texts, same),  # pairs of different texts that share a region
        "other_regions": _off_diagonal(texts, ~same),
        "features_same_region": _off_diagonal(_cosines(features), same),
        "different_tokens": _off_diagonal(tokens, True),
        "racl": region_contrastive_loss(attention, torch.from_numpy(blocks), eps=eps).item(),
        "lsim": mix_diversity_loss(mix, eps=eps).item(),
    }


def _cosines(rows: Tensor) -> Matrix:
    """Mean cosine similarities [R, R] of rows [N, R, D]."""
    unit = F.normalize(rows, dim=-1)
    mean: Matrix = (unit @ unit.mT).mean(dim=0).numpy()
    return mean


def _off_diagonal(values: Matrix, chosen: NDArray[np.bool_] | bool) -> float:
    pairs = values[chosen & ~np.eye(len(values), dtype=bool)]
    return float(pairs.mean()) if pairs.size else float("nan")
