"""A model that was never trained, CLIP as it is: the recognizer of a weight file, and thresholds for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from focuscli.config import build_config, method_entry
from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import AttributeSchema
from focuscli.engine.checkpoint import Checkpoint
from focuscli.engine.device import check_precision, resolve_device
from focuscli.engine.training_data import prepare_training_data
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.thresholds import Thresholds
from focuscli.models.build import build_method, load_clip
from focuscli.storage.paths import ZERO_SHOT


def clip_recognizer(
    weights: Path,
    schema: AttributeSchema,
    *,
    folder: Path = Path(ZERO_SHOT),
    device: str = "auto",
    precision: str = "auto",
) -> Recognizer:
    """CLIP as it is: the class token against plain phrases, nothing trained, no threshold yet (`calibrated`).

    Args:
        weights: a CLIP weight file of any ViT shape. schema: whose attributes are asked for by default.
        folder: stands for the checkpoint in outputs.

    Raises:
        RequirementError: no such device. UsageError: no such precision. InputError: the weights cannot be used.
    """
    check_precision(precision)
    clip, origin = load_clip(weights)
    vision = clip.config.vision
    shape = {"method": ZERO_SHOT, "image_size": vision.image_size, "patch": vision.patch_size, "partitions": 1}
    entry = method_entry(ZERO_SHOT)
    config = build_config([(f"method {ZERO_SHOT}", entry.changes), (str(weights), {"model": shape})])[0]
    model = build_method(config.model, clip, schema.texts(complements=False))
    state = {
        "thresholds": {},
        "global_threshold": math.nan,
        "threshold_source": "",
        "weights": origin,
        "data": {"fingerprint": "", "name": "nothing", "train_images": 0, "train_split": "CLIP as it is"},
    }
    return Recognizer(model, config, schema, Checkpoint(folder, state), resolve_device(device), precision)


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
