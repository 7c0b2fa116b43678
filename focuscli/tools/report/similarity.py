"""What region-aware contrastive learning and the diversity loss achieved: similarities before and after training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from focuscli.config import SCRATCH
from focuscli.data.images import chunks
from focuscli.data.loader import normalise, read_batches, to_unit
from focuscli.data.regions import region_block_matrix, region_names
from focuscli.data.schema import Text
from focuscli.engine.device import autocast
from focuscli.errors import FocusError, InputError
from focuscli.inference.recognizer import Recognizer
from focuscli.models.base import Method
from focuscli.models.build import new_method
from focuscli.models.losses import mix_diversity_loss, region_contrastive_loss
from focuscli.storage.weights import resolve_weights

Matrix = NDArray[np.float64]
BATCH = 32


@dataclass(frozen=True)
class Similarity:
    """Means over images for one state of a model, texts ordered by region.

    Attributes:
        attention: S_attn [Z, Z], cosine similarity of the texts' attention over Mix Tokens (Eq. 7).
        mix: S_mix [K, K], cosine similarity of the Mix Tokens' features (Eq. 4).
        tokens: [regions, K], share of each Mix Token in the attention of a region's texts; rows sum to 1.
        same_region, other_regions: mean of `attention` over pairs of different texts that share a region, and of those
            that do not; NaN if there is no such pair.
        features_same_region: mean cosine similarity of attribute features V over pairs that share a region.
        different_tokens: mean of `mix` over pairs of different Mix Tokens.
        racl, lsim: the two losses on these images.
    """

    attention: Matrix
    mix: Matrix
    tokens: Matrix
    same_region: float
    other_regions: float
    features_same_region: float
    different_tokens: float
    racl: float
    lsim: float


@dataclass(frozen=True)
class BeforeAndAfter:
    """Both states of a run on the same images.

    Attributes:
        regions: in the order of the matrices, with the number of their texts.
        blocks: the block matrix B [Z, Z] (Eq. 6) of these texts.
        states: "before" and "after" training; only "after" if the initial weights are not available any more.
    """

    images: int
    regions: dict[str, int]
    blocks: Matrix
    states: dict[str, Similarity]


def before_and_after(
    recognizer: Recognizer, paths: Sequence[Path], *, workers: int, progress: Callable[[int, int], None]
) -> BeforeAndAfter | None:
    """Measure a run's checkpoint and its initial state on some images; None if it has no attention over Mix Tokens (MGMT
    or AVFE is off)."""
    config = recognizer.config
    if not (config.model.mgmt and config.model.avfe):
        return None
    names = region_names(recognizer.model.texts, config.data.regions)
    regions = {name: names.count(name) for name in [*recognizer.schema.regions, *names] if name in names}
    pairs = zip(names, recognizer.model.texts, strict=True)
    texts = [text for _, text in sorted(pairs, key=lambda pair: [*regions].index(pair[0]))]
    models = {"after": recognizer.model}
    with contextlib.suppress(FocusError):
        models = {"before": initial_model(recognizer), **models}
    return BeforeAndAfter(
        images=len(paths),
        regions=regions,
        blocks=region_block_matrix(texts, config.data.regions).astype(np.float64),
        states={
            when: _measure(model, recognizer, texts, regions, paths, workers, progress)
            for when, model in models.items()
        },
    )


def initial_model(recognizer: Recognizer) -> Method:
    """The model as it was before the first step of the run: same seed, same CLIP weights.

    Raises:
        RequirementError: those weights are not installed. InputError: their file is gone or has changed.
    """
    config = recognizer.config
    weights = None if recognizer.weights == SCRATCH else resolve_weights(config.train.weights or None)
    model, origin = new_method(config, recognizer.model.texts, weights)
    if origin != recognizer.weights:
        raise InputError(f"The run started from {recognizer.weights}; the weights here are {origin}.")
    return model.to(recognizer.device).eval().requires_grad_(False)


@torch.inference_mode()
def _measure(
    model: Method,
    recognizer: Recognizer,
    texts: Sequence[Text],
    regions: Mapping[str, int],
    paths: Sequence[Path],
    workers: int,
    progress: Callable[[int, int], None],
) -> Similarity:
    config, device = recognizer.config, recognizer.device
    blocks = torch.from_numpy(region_block_matrix(texts, config.data.regions)).to(device)
    with autocast(device, recognizer.precision):
        features = model.encode_texts(texts)
    sums: dict[str, Matrix] = {}
    done = 0
    for crops in read_batches(paths, config.model.image_size, chunks(len(paths), BATCH), workers=workers):
        with autocast(device, recognizer.precision):
            mix = model.encode_image(normalise(to_unit(crops, device))).tokens
            output = model.score(mix, features)
        attention = output.attention_maps
        batch = {
            "attention": _cosines(attention).sum(dim=0),
            "mix": _cosines(mix).sum(dim=0),
            "features": _cosines(output.attribute_features).sum(dim=0),
            "tokens": attention.float().sum(dim=0),
            "racl": region_contrastive_loss(attention, blocks, eps=config.loss.eps) * len(crops),
            "lsim": mix_diversity_loss(mix, eps=config.loss.eps) * len(crops),
        }
        for name, value in batch.items():
            sums[name] = sums.get(name, 0) + value.cpu().double().numpy()
        done += len(crops)
        progress(done, len(paths))
    means = {name: value / done for name, value in sums.items()}
    names = np.repeat([*regions], [*regions.values()])
    same = names[:, None] == names
    return Similarity(
        attention=means["attention"],
        mix=means["mix"],
        tokens=np.stack([means["tokens"][names == name].mean(axis=0) for name in regions]),
        same_region=_off_diagonal(means["attention"], same),
        other_regions=_off_diagonal(means["attention"], ~same),
        features_same_region=_off_diagonal(means["features"], same),
        different_tokens=_off_diagonal(means["mix"], np.ones(means["mix"].shape, dtype=bool)),
        racl=float(means["racl"]),
        lsim=float(means["lsim"]),
    )


def _cosines(rows: torch.Tensor) -> torch.Tensor:
    """Cosine similarities [..., N, N] of rows [..., N, D]."""
    unit = F.normalize(rows.float(), dim=-1)
    return unit @ unit.mT


def _off_diagonal(values: Matrix, chosen: NDArray[np.bool_]) -> float:
    """The mean of the chosen values off the diagonal."""
    pairs = values[chosen & ~np.eye(len(values), dtype=bool)]
    return float(pairs.mean()) if pairs.size else float("nan")
