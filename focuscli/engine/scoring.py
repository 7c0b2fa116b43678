"""Scores of many image files against texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.data.loader import evenly, normalise, read_batches, to_unit
from focuscli.engine.device import autocast
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.models.base import Method

Progress = Callable[[int, int], None]


@torch.inference_mode()
def score_files(
    model: Method,
    paths: Sequence[Path],
    text_features: Tensor,
    *,
    batch_size: int = 128,
    workers: int = 2,
    precision: str = "auto",
    progress: Progress | None = None,
    process_group: ProcessGroup = SINGLE,
) -> NDArray[np.float32]:
    """Scores [N, Z] = exp(logit_scale) * cos(V, T) of image files against text features T [Z, D].

    In a group each process scores some of the batches and all get all scores. The batches are those of one process, so
    that the scores are too, to the last bit.

    Raises:
        InputError: a file is missing or unreadable.
    """
    device = text_features.device
    was_training = model.training
    model.eval()
    batches = process_group.shard(evenly(len(paths), batch_size))
    mine = sum(map(len, batches))
    scores = np.empty((mine, len(text_features)), dtype=np.float32)
    done = 0
    for crops in read_batches(paths, model.config.image_size, batches, workers=workers):
        with autocast(device, precision):
            mix = model.encode_image(normalise(to_unit(crops, device))).tokens
            scored = model.score(mix, text_features).scores
        scores[done : done + len(crops)] = scored.float().cpu().numpy()
        done += len(crops)
        if progress is not None:
            progress(done, mine)
    model.train(was_training)
    return np.concatenate(process_group.all_gather(scores))
