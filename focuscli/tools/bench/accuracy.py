"""What a precision costs on labelled crops: mA beside fp32's, and the largest difference of a score."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import CheckFailed, UsageError
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.storage.paths import resolve_dataset
from focuscli.tools.bench.onnx import absent_packages
from focuscli.tools.bench.results import Measurement, Missing, Outcome, Ratio, Spread, single
from focuscli.tools.bench.settings import Settings

WORK = "encode"
VARIANTS = ("fp32", "bf16 autocast", "bf16 weights")
INT8 = "ONNX int8"


def measure_checkpoint(settings: Settings) -> Outcome:
    """The same for the checkpoint and dataset that the settings name; by default the dataset of its training.

    Raises:
        InputError, RequirementError: there is no such checkpoint or dataset.
    """
    recognizer = Recognizer.from_checkpoint(settings.checkpoint, device=settings.device, precision="fp32")
    folder = read_folder(resolve_dataset(settings.dataset or recognizer.config.data.dataset))
    return measure_accuracy(recognizer, folder, settings)


def measure_accuracy(
    recognizer: Recognizer, folder: DatasetFolder, settings: Settings, *, split: str = "test"
) -> Outcome:
    """mA of a split in fp32, in bf16 and as an exported int8 model, at the checkpoint's own thresholds.

    Only what bf16 does to the numbers matters here: a CPU that imitates it gives the same as one that has it.

    Raises:
        UsageError: the dataset's attributes are not those that the checkpoint was trained on.
    """
    if [text.attribute for text in recognizer.attributes] != [item.name for item in folder.schema.evaluated]:
        raise UsageError(
            f"{folder.schema.name} has other attributes than {recognizer.folder} was trained on.",
            "Give --dataset the dataset of the training.",
        )
    indices = folder.select(split)
    if settings.quick:
        indices = indices[:64]
    data = prepare_training_data(folder, recognizer.config.data, seed=0)
    targets, known = data.labels(indices)
    thresholds = np.array([recognizer.threshold(text)[0] for text in recognizer.attributes])
    paths = data.paths(indices)
    scores = {name: _scores(recognizer, name, paths) for name in VARIANTS}
    missing = []
    reason = _why_no_export(recognizer)
    if not reason:
        try:
            scores[INT8] = _exported_scores(recognizer, paths)
        except CheckFailed as failure:
            reason = failure.problem
    if reason:
        missing.append(Missing(work=WORK, name=f"mA, {INT8}", reason=reason))
    figures = {
        name: 100 * pedestrian_metrics(targets > 0.5, values > thresholds, known)["mA"]
        for name, values in scores.items()
    }
    note = f"{folder.schema.name} {split}, {len(indices):,} crops, {recognizer.weights}, trained on {recognizer.trained_on}"
    measured = tuple(_measurement(name, figures, scores, note) for name in scores)
    return Outcome(measurements=measured, missing=tuple(missing))


def _measurement(
    name: str, figures: dict[str, float], scores: dict[str, NDArray[np.float32]], note: str
) -> Measurement:
    largest = float(np.abs(scores[name] - scores["fp32"]).max())
    spread = float(scores["fp32"].std())
    cost = Ratio(to="mA in fp32", spread=Spread.of([figures[name] / figures["fp32"]]))
    return single(
        WORK,
        f"mA, {name}",
        "%",
        [figures[name]],
        ratios=() if name == "fp32" else (cost,),
        note=f"{note}; largest score difference {largest:.3f} of scores with a standard deviation of {spread:.2f}",
    )


def _scores(recognizer: Recognizer, variant: str, paths: Sequence[Path]) -> NDArray[np.float32]:
    changed = copy.copy(recognizer)
    changed.precision = "bf16" if variant == "bf16 autocast" else "fp32"
    if variant == "bf16 weights":
        changed.model = copy.deepcopy(recognizer.model).to(torch.bfloat16)
    return changed.score_files(paths, [*changed.attributes])


def _why_no_export(recognizer: Recognizer) -> str:
    """Why the model cannot be exported here; empty where it can."""
    if recognizer.device.type != "cpu":
        return "models are exported on the CPU: add --device cpu"
    absent = absent_packages()
    return f"not installed: pip install {' '.join(absent)}" if absent else ""


def _exported_scores(recognizer: Recognizer, paths: Sequence[Path]) -> NDArray[np.float32]:
    """Scores [N, Z] of the int8 model that `focus export --int8` makes.

    Raises:
        CheckFailed: its scores on drawn crops are not the checkpoint's.
    """
    from focuscli.inference.predict import Prediction, predict
    from focuscli.tools.export.build import export_onnx
    from focuscli.tools.export.runtime import OnnxScorer

    with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(recognizer, file, fingerprint="", int8=True)
        scorer = OnnxScorer.from_file(file)
        found = predict(scorer, paths, [*recognizer.attributes], strict=True)
        return np.array([item.scores for item in found if isinstance(item, Prediction)], dtype=np.float32)
