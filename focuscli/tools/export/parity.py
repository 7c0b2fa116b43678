"""Compare the scores of an exported model with those of the checkpoint that it was made from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import read_folder
from focuscli.data.images import squash
from focuscli.data.inputs import expand_images
from focuscli.data.schema import Text
from focuscli.data.synthetic.generate import STYLES, draw
from focuscli.data.synthetic.people import sample_person
from focuscli.engine.scoring import Progress, score_files
from focuscli.errors import CheckFailed, InputError
from focuscli.evaluation.closed_set import label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.storage.paths import resolve_dataset
from focuscli.tools.export.runtime import OnnxScorer

FP32_TOLERANCE = 1e-4
"""Largest difference of a score in fp32, as a share of the largest score."""
INT8_TOLERANCE = 0.25
"""Root mean square difference in int8, as a share of the scores' standard deviation. A sound export has half of it."""
SYNTHETIC = 5  # neither the batch size that the graph was traced with, nor a multiple of it


@dataclass(frozen=True)
class Crops:
    """Real crops to compare on: which, in words, and labels [N, A] of the trained attributes with those that are known."""

    source: str
    paths: Sequence[Path]
    labels: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None


def real_crops(recognizer: Recognizer, source: str | None, split: str, limit: int, *, labels: bool) -> Crops:
    """Crops spread evenly over a folder of images or a dataset's split.

    Args:
        source: a folder, or a dataset's name; None: the training dataset. limit: how many at most; 0 for all.
        labels: with those of the trained attributes, if the dataset has them.

    Raises:
        InputError: no such dataset or split, no image, or the training dataset is unknown.
    """
    name = source or recognizer.config.data.dataset
    if not name:
        raise InputError(
            "The model does not say which dataset it was trained on.", "Name crops: --images NAME or FOLDER"
        )
    labelled = None
    if source and Path(source).is_dir() and not (Path(source) / "schema.toml").is_file():
        paths, kind = expand_images([source]), "given crops"
    else:
        folder = read_folder(resolve_dataset(name))
        folder.require_images()
        paths = [folder.image_path(int(index)) for index in folder.select(split)]
        kind = f"crops of {folder.schema.name} {split}"
        if labels:
            with contextlib.suppress(InputError):  # another dataset's attributes: its crops are compared without labels
                labelled = label_split(recognizer, folder, split)
    chosen = np.linspace(0, len(paths) - 1, min(limit or len(paths), len(paths))).round().astype(int)
    return Crops(
        f"{len(chosen):,} {kind}",
        [paths[row] for row in chosen],
        None if labelled is None else (labelled.truth[chosen], labelled.known[chosen]),
    )


def compare(
    source: str, ours: NDArray[np.float32], theirs: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> dict[str, Any]:
    """Compare scores [N, Z] of the checkpoint with those of the export; thresholds [Z] are NaN for texts without one.

    Returns:
        source: which crops, in words. images, texts: their numbers.
        largest, mean: of the absolute difference. rms: root of its mean square.
        scale: the largest absolute score. spread: standard deviation of a text's scores over the crops, mean over texts.
        decisions, changed: scores with a threshold, and how many of them fall on the other side of it.
        mA: None; balanced accuracy of the checkpoint and of the export, in percent, where labels are known.
    """
    difference = np.abs(ours.astype(np.float64) - theirs)
    decided = np.isfinite(thresholds)
    changed = (ours > thresholds) != (theirs > thresholds)
    return {
        "source": source,
        "images": len(ours),
        "texts": ours.shape[1],
        "largest": float(difference.max()),
        "mean": float(difference.mean()),
        "rms": float(np.sqrt(np.square(difference).mean())),
        "scale": float(np.abs(ours).max()),
        "spread": float(ours.std(axis=0, dtype=np.float64).mean()),
        "decisions": int(decided.sum()) * len(ours),
        "changed": int(changed[:, decided].sum()),
        "mA": None,
    }


def problem(parity: dict[str, Any], *, int8: bool) -> str | None:
    """Why the difference is too large for an export of this precision; None where it is not."""
    source, spread, limit = parity["source"], parity["spread"], FP32_TOLERANCE * parity["scale"]
    if not np.isfinite(parity["largest"]):
        return f"some scores on {source} are not finite"
    if not int8 and parity["largest"] > limit:
        return f"scores on {source} differ by up to {parity['largest']:.3g}; at most {limit:.3g} is allowed"
    # Rounded as it is printed, so that the message never says that 0.250 is more than 0.250.
    share = round(parity["rms"] / spread, 3) if spread else math.inf if parity["rms"] else 0.0
    if int8 and share > INT8_TOLERANCE:
        return (
            f"int8 scores on {source} are off by {share:.3f} of their standard deviation (root mean square); "
            f"at most {INT8_TOLERANCE:.3f} is allowed"
        )
    return None


def check_parity(
    recognizer: Recognizer, exported: OnnxScorer, texts: Sequence[Text], crops: Crops | None, progress: Progress
) -> list[dict[str, Any]]:
    """Compare an export with its checkpoint on synthetic crops, and on real ones if there are any.

    In fp32 both decide. The error of int8 is judged by its mean square, for which a handful of synthetic crops is too small a
    sample: if there are real crops, they decide and the synthetic ones are only reported.

    Raises:
        CheckFailed: the scores differ by too much. InputError: a crop cannot be read.
    """
    thresholds = np.array([recognizer.threshold(text)[0] for text in texts])
    size, int8 = recognizer.image_size, exported.precision == "int8"
    rng = np.random.default_rng(0)
    people = [draw(sample_person(rng), STYLES["street"], rng=rng)[0] for _ in range(SYNTHETIC)]
    pixels = np.stack([squash(person, size) for person in people])
    score_fns = [recognizer.score_fn(texts), exported.score_fn(texts)]
    ours, theirs = (score_fn(pixels) for score_fn in score_fns)
    found = [compare(f"{SYNTHETIC} synthetic crops", ours, theirs, thresholds)]
    if crops is not None:
        ours, theirs = (score_files(fn, crops.paths, size, batch_size=16, progress=progress) for fn in score_fns)
        parity = compare(crops.source, ours, theirs, thresholds)
        count = len(recognizer.attributes)
        if crops.labels is not None and recognizer.thresholds and tuple(texts[:count]) == recognizer.attributes:
            truth, known = crops.labels
            above = [scores[:, :count] > thresholds[:count] for scores in (ours, theirs)]
            first, second = (100 * pedestrian_metrics(truth, each, known)["mA"] for each in above)
            parity["mA"] = float(first), float(second)
        found.append(parity)
    for parity in found[-1:] if int8 else found:
        if too_far := problem(parity, int8=int8):
            hint = "Compare on real crops instead: --images NAME or FOLDER" if int8 and not crops else None
            raise CheckFailed(f"The exported model differs from the checkpoint: {too_far}. Nothing was written.", hint)
    return found
