"""What region-aware contrastive learning and the diversity loss achieved: similarities before and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
Progress = Callable[[int, int], None]
BATCH = 32


@dataclass(frozen=True)
class Similarities:
    """Means over images for one state of a model, texts ordered by region.

    Attributes:
        attention: S_attn [Z, Z], cosine similarity of the texts' attention over Mix Tokens (Eq. 7).
        mix: S_mix [K, K], cosine similarity of the Mix Tokens' features (Eq. 4).
        tokens: [regions, K], share of each Mix Token in the attention of a region's texts; rows sum to 1.
        same_region, other_regions: mean of `attention` over pairs of different texts that share a region, and of those
            that do not; None if there is no such pair.
        features_same_region: mean cosine similarity of attribute features V over pairs that share a region.
        racl, lsim: the two losses on these images.
    """

    attention: Matrix
    mix: Matrix
    tokens: Matrix
    same_region: float | None
    other_regions: float | None
    features_same_region: float | None
    racl: float
    lsim: float

    @property
    def mix_off_diagonal(self) -> float | None:
        """Mean similarity of two different Mix Tokens."""
        return _mean(self.mix, ~np.eye(len(self.mix), dtype=bool))


@dataclass(frozen=True)
class BeforeAndAfter:
    """Both states of a run on the same images.

    Attributes:
        texts: the training texts, ordered by region. regions: their regions, in that order.
        blocks: the block matrix B [Z, Z] (Eq. 6) of these texts.
        before: None if the initial weights are not available any more; `before_missing` says why.
    """

    images: int
    texts: tuple[Text, ...]
    regions: tuple[str, ...]
    blocks: Matrix
    after: Similarities
    before: Similarities | None
    before_missing: str = ""

    @property
    def region_sizes(self) -> list[tuple[str, int]]:
        """Regions in order with the number of their texts."""
        return [(name, self.regions.count(name)) for name in dict.fromkeys(self.regions)]

    @property
    def states(self) -> list[tuple[str, Similarities]]:
        """The states that were measured, by "before" and "after"."""
        states = [("before", self.before), ("after", self.after)]
        return [(when, state) for when, state in states if state is not None]


def before_and_after(
    recognizer: Recognizer, paths: Sequence[Path], *, workers: int = 2, progress: Progress | None = None
) -> BeforeAndAfter | None:
    """Measure a run's checkpoint and its initial state on some images; None if it has no attention over Mix Tokens (MGMT
    or AVFE is off)."""
    config = recognizer.config
    if not (config.model.mgmt and config.model.avfe):
        return None
    names = region_names(recognizer.model.texts, config.data.regions)
    known = [*dict.fromkeys([*recognizer.schema.regions, *names])]
    order = sorted(range(len(names)), key=lambda index: known.index(names[index]))
    texts = tuple(recognizer.model.texts[index] for index in order)
    models, missing = [recognizer.model], ""
    try:
        models.append(initial_model(recognizer))
    except FocusError:
        # The error names folders, which must not appear on a page that may be shared.
        missing = "the CLIP weights that the run started from are not here (focus prepare weights installs them)"
    measured = [measure(model, recognizer, texts, paths, workers=workers, progress=progress) for model in models]
    return BeforeAndAfter(
        images=len(paths),
        texts=texts,
        regions=tuple(names[index] for index in order),
        blocks=region_block_matrix(texts, config.data.regions).astype(np.float64),
        after=measured[0],
        before=measured[1] if len(measured) > 1 else None,
        before_missing=missing,
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
def measure(
    model: Method,
    recognizer: Recognizer,
    texts: Sequence[Text],
    paths: Sequence[Path],
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> Similarities:
    """Means over the images of `paths` for one state of the recognizer's model."""
    config, device = recognizer.config, recognizer.device
    names = np.array(region_names(texts, config.data.regions))
    blocks = torch.from_numpy(region_block_matrix(texts, config.data.regions)).float().to(device)
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
        if progress is not None:
            progress(done, len(paths))
    means = {name: value / done for name, value in sums.items()}
    same = names[:, None] == names[None, :]
    others = ~np.eye(len(texts), dtype=bool)
    return Similarities(
        attention=means["attention"],
        mix=means["mix"],
        tokens=np.stack([means["tokens"][names == name].mean(axis=0) for name in dict.fromkeys(names.tolist())]),
        same_region=_mean(means["attention"], same & others),
        other_regions=_mean(means["attention"], ~same),
        features_same_region=_mean(means["features"], same & others),
        racl=float(means["racl"]),
        lsim=float(means["lsim"]),
    )


def _cosines(rows: torch.Tensor) -> torch.Tensor:
    """Cosine similarities [..., N, N] of rows [..., N, D]."""
    unit = F.normalize(rows.float(), dim=-1)
    return unit @ unit.mT


def _mean(values: Matrix, chosen: NDArray[np.bool_]) -> float | None:
    return float(values[chosen].mean()) if chosen.any() else None
