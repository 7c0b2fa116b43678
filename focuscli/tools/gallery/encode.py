"""Crops to features, in batches; images that cannot be read are set aside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.data.images import chunks
from focuscli.data.loader import normalise, read_crop, to_unit
from focuscli.engine.device import autocast
from focuscli.errors import InputError
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.gallery.shards import Crop, Skipped
from focuscli.tools.gallery.source import Source

PREFETCH = 2
Progress = Callable[[int, int], None]


def encode_crops(
    recognizer: Recognizer,
    crops: Sequence[Crop],
    source: Source,
    *,
    batch: int = 32,
    workers: int = 2,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float16], list[Crop], list[Skipped]]:
    """Features [n, K, D] of the crops that can be read, these, and the others.

    Raises:
        InputError: a feature does not fit half precision.
    """
    size = recognizer.config.model.image_size
    parts: list[Tensor] = []
    read: list[Crop] = []
    skipped: list[Skipped] = []
    done = 0
    for group, images in _read_ahead(crops, source, size, batch, workers):
        for crop, image in zip(group, images, strict=True):
            if isinstance(image, InputError):
                skipped.append(Skipped(crop, image.problem))
            else:
                read.append(crop)
        good = [image for image in images if isinstance(image, Tensor)]
        if good:
            parts.append(_encode(recognizer, torch.stack(good)))
        done += len(group)
        if progress is not None:
            progress(done, len(crops))
    model = recognizer.model
    empty = np.empty((0, len(model.token_names), model.clip.config.embed_dim), dtype=np.float16)
    return (torch.cat(parts).numpy() if parts else empty), read, skipped


@torch.inference_mode()
def _encode(recognizer: Recognizer, crops: Tensor) -> Tensor:
    with autocast(recognizer.device, recognizer.precision):
        mix = recognizer.model.encode_image(normalise(to_unit(crops, recognizer.device))).tokens
    half = mix.half().cpu()
    if not half.isfinite().all():
        raise InputError(
            f"Features of up to {float(mix.abs().max()):.3g} do not fit half precision (65,504).",
            "Is this checkpoint sound? See: focus eval -c RUN",
        )
    return half


def _read_ahead(
    crops: Sequence[Crop], source: Source, size: tuple[int, int], batch: int, workers: int
) -> Iterator[tuple[list[Crop], list[Tensor | InputError]]]:
    """Crops in batches, decoded in threads while the model is busy."""

    def read(crop: Crop) -> Tensor | InputError:
        try:
            return read_crop(source.path(crop), size)
        except InputError as error:
            return error

    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: deque[tuple[list[Crop], list[Future[Tensor | InputError]]]] = deque()
        try:
            for part in chunks(len(crops), batch):
                group = [crops[index] for index in part]
                pending.append((group, [pool.submit(read, crop) for crop in group]))
                if len(pending) > PREFETCH:
                    first, futures = pending.popleft()
                    yield first, [future.result() for future in futures]
            while pending:
                first, futures = pending.popleft()
                yield first, [future.result() for future in futures]
        finally:
            for _, futures in pending:
                for future in futures:
                    future.cancel()
