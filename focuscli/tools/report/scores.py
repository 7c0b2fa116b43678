"""The scores of a split, kept in the run folder, so that a second report does not score the images again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from focuscli.data.folder import DatasetFolder
from focuscli.engine.device import effective_precision
from focuscli.errors import RequirementError
from focuscli.evaluation.closed_set import LabelledSplit
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.files import atomic_path
from focuscli.storage.fingerprint import checkpoint_fingerprint, fingerprint


def split_scores(
    recognizer: Recognizer,
    folder: DatasetFolder,
    split: str,
    labelled: LabelledSplit,
    store: Path,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Scores [N, A] of a split: the stored ones if checkpoint, data, images and precision are unchanged, else new ones,
    which are stored.

    Args:
        store: folder of the stored scores; if it cannot be written, nothing is stored.
    """
    file = store / f"{folder.schema.name}-{split}-{recognizer.folder.name}.scores.safetensors"
    origin = _origin(recognizer, folder, labelled)
    with contextlib.suppress(OSError, SafetensorError), safe_open(file, framework="numpy") as content:
        if content.metadata() == origin and (stored := content.get_tensor("scores")).shape == labelled.truth.shape:
            return stored
    scores = recognizer.score_files(labelled.paths, labelled.texts, workers=workers, progress=progress)
    with contextlib.suppress(RequirementError), atomic_path(file) as temporary:
        save_file({"scores": scores}, temporary, metadata=origin)
    return scores


def _origin(recognizer: Recognizer, folder: DatasetFolder, labelled: LabelledSplit) -> dict[str, str]:
    """All that scores depend on. Of the images names, sizes and times: reading their pixels is what the file saves."""
    images = [
        (str(path), (found := path.stat()).st_size, found.st_mtime_ns) if path.is_file() else (str(path),)
        for path in labelled.paths
    ]
    return {
        "checkpoint": checkpoint_fingerprint(recognizer.folder),
        "data": folder.fingerprint,
        "images": fingerprint(images),
        "precision": f"{recognizer.device.type} {effective_precision(recognizer.device, recognizer.precision)}",
    }
