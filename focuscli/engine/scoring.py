"""The one loop that scores image files, for any backend: read ahead in threads, scored in batches, shared by processes.

Importing this imports no torch: exported models are scored without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from focuscli.data.images import Pixels, chunks, load_image, read_ahead, squash
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from focuscli.models.base import Method

ScorePixels = Callable[[Pixels], NDArray[np.float32]]
"""uint8 [B, H, W, 3] -> scores [B, Z]."""
Progress = Callable[[int, int], None]


def score_images(
    score_fn: ScorePixels,
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    batch_size: int = 32,
    workers: int = 2,
    process_group: ProcessGroup = SINGLE,
) -> Iterator[NDArray[np.float32] | InputError]:
    """Yield, for each path in order, the scores [Z] of the image, or the error of one that cannot be read.

    In a group each process scores one batch of a round and all yield all. The batches are those of one process, so that the
    scores are equal to the last bit.

    Args:
        size: (H, W) of the pixels that `score_fn` takes.
    """
    batches = chunks(len(paths), batch_size)
    own = batches[process_group.rank :: process_group.world_size]

    def read(index: int) -> Pixels | InputError:
        try:
            return squash(load_image(paths[index]), size)
        except InputError as error:
            return error

    crops = read_ahead(read, own, workers=workers)
    for start in range(0, len(batches), process_group.world_size):
        batch = next(crops) if start + process_group.rank < len(batches) else []
        readable = [crop for crop in batch if not isinstance(crop, InputError)]
        scores = iter(score_fn(np.stack(readable)) if readable else ())
        scored = [crop if isinstance(crop, InputError) else next(scores) for crop in batch]
        for part in process_group.all_gather(scored):
            yield from part


def score_files(
    score_fn: ScorePixels,
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    batch_size: int = 128,
    workers: int = 2,
    progress: Progress | None = None,
    process_group: ProcessGroup = SINGLE,
) -> NDArray[np.float32]:
    """Scores [N, Z] as of `score_images`; InputError where a file is missing or unreadable."""
    rows = []
    for row in score_images(score_fn, paths, size, batch_size=batch_size, workers=workers, process_group=process_group):
        if isinstance(row, InputError):
            raise row
        rows.append(row)
        if progress is not None and (len(rows) % batch_size == 0 or len(rows) == len(paths)):
            progress(len(rows), len(paths))
    return np.stack(rows)


def model_score_fn(model: Method, text_features: Tensor, precision: str) -> ScorePixels:
    """How a torch model scores pixels against text features, on the device of the latter."""
    import torch

    from focuscli.data.loader import normalise
    from focuscli.engine.device import autocast

    device = text_features.device

    @torch.inference_mode()
    def score(pixels: Pixels) -> NDArray[np.float32]:
        images = normalise(torch.from_numpy(pixels), device)
        with autocast(device, precision):
            scores = model.score(model.encode_image(images).tokens, text_features).scores
        found: NDArray[np.float32] = scores.float().cpu().numpy()
        return found

    return score
