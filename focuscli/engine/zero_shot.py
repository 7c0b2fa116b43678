"""Thresholds for a model that was never trained: CLIP as it is."""

from __future__ import annotations

from collections.abc import Callable

from focuscli.data.folder import DatasetFolder
from focuscli.engine.setup import prepare_training_data
from focuscli.engine.thresholds import Thresholds
from focuscli.recognizer import Recognizer


def calibrated(
    recognizer: Recognizer,
    folder: DatasetFolder,
    *,
    batch_size: int = 128,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Recognizer:
    """The recognizer with thresholds chosen on a dataset's val images, or on the tenth of train that a training run
    would hold out where it has none.

    Raises:
        InputError: the dataset has no train or val images, or an image is missing.
    """
    config = recognizer.config
    data = prepare_training_data(folder, config.data, config.train.seed)
    targets, known = data.labels(data.val)
    scores = recognizer.score_files(
        data.paths(data.val), recognizer.attributes, batch_size=batch_size, workers=workers, progress=progress
    )
    names = [attribute.name for attribute in folder.schema.evaluated]
    split = f"{data.val_note} of {folder.schema.name}"
    return recognizer.with_thresholds(
        Thresholds.choose(names, targets, scores, known, criterion=config.eval.criterion, split=split)
    )
