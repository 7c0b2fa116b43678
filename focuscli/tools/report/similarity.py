"""What region-aware contrastive learning and the diversity loss did: similarities before and after training."""

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


@dataclass(frozen=True)
class Similarities:
    """Means over images for one state of a model, texts ordered by region.

    Attributes:
        attention: S_attn [Z, Z], cosine similarity of the texts' attention over Mix Tokens (Eq. 7).
        mix: S_mix [K, K], cosine similarity of the Mix Tokens' features (Eq. 4).
        tokens: [regions, K], share of each Mix Token in the attention of a region's texts; rows sum to 1.
        within, across: mean of `attention` over pairs of different texts that share a region, and that do not;
            None where there is no such pair.
        features_within: mean cosine similarity of attribute features V over pairs that share a region.
        racl, lsim: the two losses on these images.
    """

    attention: Matrix
    mix: Matrix
    tokens: Matrix
    within: float | None
    across: float | None
    features_within: float | None
    racl: float
    lsim: float

    @property
    def mix_across(self) -> float | None:
        """Mean similarity of two different Mix Tokens."""
        return _mean(self.tokens, ~np.eye(len(self.tokens), dtype=bool))


@dataclass(frozen=True)
class BeforeAndAfter:
    """Both states of a run on the same images.

    Attributes:
        texts: the training texts, ordered by region; regions: their regions, in that order.
        blocks: the block matrix B (Eq. 6) of these texts.
        before: None where the initial weights cannot be had again; `before_missing` says why.
    """

    images: int
    texts: tuple[Text, ...]
    regions: tuple[str, ...]
    blocks: Matrix
    after: Similarities
    before: Similarities | None
    before_missing: str = ""

    @property
    def region_runs(self) -> list[tuple[str, int]]:
        """Regions in order with the number of their texts."""
        return [(name, self.regions.count(name)) for name in dict.fromkeys(self.regions)]


def before_and_after(
    recognizer: Recognizer,
    paths: Sequence[Path],
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> BeforeAndAfter | None:
    """Measure a run's checkpoint and its initial state on some images; None where it has no attention over Mix Tokens
    (MGMT or AVFE off)."""
    config = recognizer.config
    if not (config.model.mgmt and config.model.avfe):
        return None
    granularity = config.data.regions
    names = region_names(recognizer.model.texts, granularity)
    known = [*dict.fromkeys([*recognizer.schema.regions, *names])]
    order = sorted(range(len(names)), key=lambda index: known.index(names[index]))
    texts = tuple(recognizer.model.texts[index] for index in order)
    states: list[Method] = [recognizer.model]
    missing = ""
    try:
        states.append(initial_model(recognizer))
    except FocusError:
        # The error names folders, which have no place on a page that may be shared.
        missing = "the CLIP weights that the run started from are not here (focus prepare weights installs them)"
    total = len(states) * len(paths)
    measured = []
    for number, model in enumerate(states):
        before = number * len(paths)

        def step(done: int, _total: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        measured.append(measure(model, recognizer, texts, paths, workers=workers, progress=step))
    return BeforeAndAfter(
        images=len(paths),
        texts=texts,
        regions=tuple(names[index] for index in order),
        blocks=region_block_matrix(texts, granularity).astype(np.float64),
        after=measured[0],
        before=measured[1] if len(measured) > 1 else None,
        before_missing=missing,
    )


def initial_model(recognizer: Recognizer) -> Method:
    """The model as it was before the first step of the run: same seed, same CLIP weights.

    Raises:
        RequirementError: those weights are not installed. InputError: their file is gone or is now another one.
    """
    config = recognizer.config
    scratch = recognizer.weights == SCRATCH
    weights = None if scratch else resolve_weights(config.train.weights or None)
    model, origin = new_method(config, recognizer.model.texts, weights)
    if origin != recognizer.weights:
        raise InputError(f"the run started from {recognizer.weights}; there is {origin} now")
    return model.to(recognizer.device).eval().requires_grad_(False)


@torch.inference_mode()
def measure(
    model: Method,
    recognizer: Recognizer,
    texts: Sequence[Text],
    paths: Sequence[Path],
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Similarities:
    """Means over the images of `paths` for one state of the recognizer's model."""
    config = recognizer.config
    names = np.array(region_names(texts, config.data.regions))
    blocks = torch.from_numpy(region_block_matrix(texts, config.data.regions)).float()
    sums: dict[str, torch.Tensor] = {}
    losses = {"racl": 0.0, "lsim": 0.0}
    with autocast(recognizer.device, recognizer.precision):
        features = model.encode_texts(texts)
    done = 0
    for crops in read_batches(paths, config.model.image_size, chunks(len(paths), 32), workers=workers):
        with autocast(recognizer.device, recognizer.precision):
            mix = model.encode_image(normalise(to_unit(crops, recognizer.device))).tokens
            output = model.score(mix, features)
        parts = {"attention": output.attention_maps, "mix": mix, "features": output.attribute_features}
        for name, rows in parts.items():
            unit = F.normalize(rows.float(), dim=-1)
            sums[name] = sums.get(name, 0) + (unit @ unit.mT).sum(dim=0).cpu()
        sums["tokens"] = sums.get("tokens", 0) + output.attention_maps.float().sum(dim=0).cpu()
        racl = region_contrastive_loss(output.attention_maps, blocks.to(recognizer.device), eps=config.loss.eps)
        losses["racl"] += racl.item() * len(crops)
        losses["lsim"] += mix_diversity_loss(mix, eps=config.loss.eps).item() * len(crops)
        done += len(crops)
        if progress is not None:
            progress(done, len(paths))
    means = {name: (value / done).double().numpy() for name, value in sums.items()}
    same = names[:, None] == names[None, :]
    others = ~np.eye(len(texts), dtype=bool)
    return Similarities(
        attention=means["attention"],
        mix=means["mix"],
        tokens=np.stack([means["tokens"][names == name].mean(axis=0) for name in dict.fromkeys(names.tolist())]),
        within=_mean(means["attention"], same & others),
        across=_mean(means["attention"], ~same),
        features_within=_mean(means["features"], same & others),
        racl=losses["racl"] / done,
        lsim=losses["lsim"] / done,
    )


def _mean(values: Matrix, chosen: NDArray[np.bool_]) -> float | None:
    return float(values[chosen].mean()) if chosen.any() else None
