"""From run folders to the content of a report: everything is computed here, nothing is rendered."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel

from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.images import load_image
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.errors import InputError, one_line
from focuscli.evaluation.closed_set import THRESHOLDS, EvaluationReport, LabelledSplit, evaluate, label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics
from focuscli.storage.documents import read_json, read_text
from focuscli.storage.paths import argument, resolve_dataset
from focuscli.tools.report.similarity import BeforeAndAfter, before_and_after
from focuscli.viz.grid import overlay, unit_range

MAX_PAGE_BYTES = 3_000_000
DETAILED_RUNS = 4  # More runs on one page come without the curves and errors of each attribute.
GRID_POINTS = 81
PICTURE_SIZE = (120, 168)  # Width and height that pictures fit into.


class Epoch(BaseModel):
    """One line of metrics.jsonl; `Trainer` documents the fields. Undefined metrics are None."""

    epoch: int
    loss: float | None = None
    v2t: float | None = None
    t2v: float | None = None
    lsim: float | None = None
    racl: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    val: dict[str, float | None] = {}


@dataclass(frozen=True)
class Curve:
    """Metrics against ascending thresholds, which scores have to exceed."""

    thresholds: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]  # "precision", "recall", "mA" and "F1" at each, NaN where undefined
    positions: dict[str, int]  # in `thresholds` of each one that has a source: {"val": 17, ...}


@dataclass(frozen=True)
class PredictionError:
    """One wrong prediction: a false positive or a false negative."""

    row: int  # of the image in the split
    column: int  # of the attribute
    predicted_positive: bool
    score: float
    threshold: float
    margin: float  # distance of the two in standard deviations of the attribute's scores, so that attributes compare
    rank: int  # 0 for the most confident error of its kind and attribute, 1 for the next, ...
    picture: tuple[str, ...] = ()  # data URIs of the crop and of the crop under its heat map; empty without crops


@dataclass(frozen=True)
class RunReport:
    """All that a report says about one run."""

    name: str
    state: dict[str, Any]  # the checkpoint's state.json
    environment: dict[str, Any]  # env.json, empty if there is none
    history: list[Epoch]
    data: DatasetFolder
    labelled: LabelledSplit
    evaluations: dict[str, EvaluationReport]  # by the source of their thresholds: "val", "global" and "oracle"
    common: Curve  # with one threshold for all attributes
    curves: list[Curve]  # one per attribute, in schema order
    errors: list[PredictionError]  # those to show; with crops each has its pictures
    hidden_errors: int  # the number of others, for lack of room
    similarities: BeforeAndAfter | None  # None if the run has no attention over Mix Tokens
    crops: bool

    @property
    def main(self) -> EvaluationReport:
        """The evaluation with one threshold per attribute from val, which holds wherever no other is named."""
        return self.evaluations["val"]


def collect(
    checkpoints: Sequence[Path],
    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]],
    *,
    dataset: str | None = None,
    split: str = "test",
    errors: int = 3,
    crops: bool = True,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
) -> list[RunReport]:
    """Everything about some runs. All inputs are checked before the first image is scored.

    Args:
        checkpoints: folders in the checkpoints/ of runs. progress: opens a named progress bar.
        dataset: name or folder; None: the one that the run was trained on, which must be unchanged.
        errors: most confident errors per attribute and kind; 0 shows none.
        crops: whether pictures of the dataset enter the report.

    Raises:
        InputError: a run without metrics or thresholds; its dataset is gone, has changed or has other attributes.
        RequirementError: no such device.
    """
    opened = [read_run(checkpoint, dataset) for checkpoint in checkpoints]
    if len(opened) > DETAILED_RUNS:
        errors = min(1, errors)
    # Pictures may take what the rest of the page, which grows with the attributes, leaves of each run's share.
    rest = 200_000 + 10_000 * max(len(data.schema.evaluated) for *_, data in opened)
    picture_bytes = int(0.95 * MAX_PAGE_BYTES / len(opened)) - rest if crops else None
    reports = []
    runs, depth = {run for run, *_ in opened}, 1
    while len({run.parts[-depth:] for run in runs}) < len(runs):  # as few parts of their names as make them differ
        depth += 1
    for checkpoint, (run, history, data) in zip(checkpoints, opened, strict=True):
        recognizer = Recognizer.from_checkpoint(checkpoint, device=device, precision=precision)
        labelled = label_split(recognizer, data, split)
        truth, known = labelled.truth, labelled.known
        with progress(f"scoring {data.name} {split}") as step:
            scores = recognizer.score_files(labelled.paths, labelled.texts, workers=workers, progress=step)
        evaluations = {mode: evaluate(recognizer, data, split, threshold=mode, scores=scores) for mode in THRESHOLDS}
        thresholds = {
            mode: np.array([row.threshold for row in evaluation.attributes]) for mode, evaluation in evaluations.items()
        }
        found = confident_errors(truth, scores, known, thresholds["val"], errors)
        shown = found if picture_bytes is None else with_pictures(recognizer, found, labelled, picture_bytes)
        with progress("attention before and after training") as step:
            similarities = before_and_after(recognizer, labelled.paths, workers=workers, progress=step)
        common, curves = threshold_curves(truth, scores, known, thresholds)
        environment = {}
        with contextlib.suppress(InputError, ValueError, TypeError):  # a run that lost it is reported without
            environment = dict(read_json(run / "env.json"))
        state, hidden = read_checkpoint(checkpoint).state, len(found) - len(shown)
        result = evaluations, common, curves, shown, hidden, similarities, crops
        name = "/".join(run.parts[-depth:])
        reports.append(RunReport(name, state, environment, history, data, labelled, *result))
    return reports


def read_run(checkpoint: Path, dataset: str | None) -> tuple[Path, list[Epoch], DatasetFolder]:
    """The run folder of a checkpoint, its epochs, and the dataset to report on; raises as `collect`."""
    run = checkpoint.resolve().parent.parent
    state = read_checkpoint(checkpoint).state
    try:
        lines = read_text(run / "metrics.jsonl").splitlines()
        history = [Epoch.model_validate_json(line) for line in lines if line.strip()]
        if not history or not state.get("thresholds"):
            raise ValueError("no epoch has been finished and evaluated on val")
    except (InputError, ValueError) as error:
        raise InputError(
            f"{run} has no training curves or thresholds to report: metrics.jsonl: {one_line(error)}.",
            f"Name the folder that focus train wrote, or write them again: focus train --resume --run {argument(run)}",
        ) from error
    if dataset is not None:
        return run, history, read_folder(resolve_dataset(dataset))
    trained = state["data"]
    folder = Path(trained["folder"])
    data = read_folder(folder) if (folder / "schema.toml").is_file() else None
    if data is None or data.fingerprint != trained["fingerprint"]:
        raise InputError(
            f"The dataset of run {run} {'is gone' if data is None else 'has changed'}: {trained['name']} in {folder} "
            f"had the fingerprint {trained['fingerprint'][:12]}{'' if data is None else ', now ' + data.fingerprint[:12]}.",
            f"Restore it, or name the data to report on: focus report {argument(run)} --dataset NAME|FOLDER",
        )
    return run, history, data


def threshold_curves(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    sources: Mapping[str, NDArray[np.float64]],
) -> tuple[Curve, list[Curve]]:
    """`pedestrian_metrics` against one threshold for all attributes, and `label_accuracy` of each against its own.

    Args:
        truth, scores, known: [N, Z].
        sources: thresholds [Z] by source, which are points of the curves; "global" has one value, that of the first curve.
    """
    exact = scores.astype(np.float64)
    low, high = np.quantile(exact, (0.001, 0.999))
    grid = np.linspace(low, high, GRID_POINTS)
    points = np.stack([*np.broadcast_to(grid[:, None], (GRID_POINTS, truth.shape[1])), *sources.values()])
    overall = [pedestrian_metrics(truth, exact > values, known) for values in [*grid, sources["global"]]]
    rows = [label_accuracy(truth, exact > values, known) for values in points]
    names = {"precision": "Prec", "recall": "Recall", "mA": "mA", "F1": "F1"}
    common = {name: np.array([row[key] for row in overall]) for name, key in names.items()}
    names = {"precision": "precision", "recall": "recall", "mA": "mA", "F1": "f1"}
    own = {name: np.stack([row[key] for row in rows], axis=1) for name, key in names.items()}
    return _curve(np.array([*grid, sources["global"][0]]), common, ["global"]), [
        _curve(points[:, z], {name: values[z] for name, values in own.items()}, [*sources])
        for z in range(truth.shape[1])
    ]


def _curve(points: NDArray[np.float64], metrics: Mapping[str, NDArray[np.float64]], sources: Sequence[str]) -> Curve:
    """Metrics at points in ascending order; `sources`: of the last points."""
    order = points.argsort()
    thresholds = points[order]
    positions = np.searchsorted(thresholds, points[-len(sources) :]).tolist()
    ordered = {name: values[order] for name, values in metrics.items()}
    return Curve(thresholds, ordered, dict(zip(sources, positions, strict=True)))


def confident_errors(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    known: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    most: int,
) -> list[PredictionError]:
    """By attribute at most `most` false positives, then as many false negatives, the most confident first; of equal margins
    the earlier image. truth, scores, known: [N, Z]; thresholds: [Z]."""
    errors = []
    for column, threshold in enumerate(thresholds.tolist()):
        values = scores[:, column].astype(np.float64)
        margins = np.abs(values - threshold) / (float(values.std()) or 1.0)
        # A score at the threshold itself is negative, as everywhere.
        predicted = values > threshold
        for positive in (True, False):
            rows = np.flatnonzero(known[:, column] & (predicted == positive) & (truth[:, column] != positive))
            best = rows[np.argsort(-margins[rows], kind="stable")][:most].tolist()
            errors += [
                PredictionError(row, column, positive, float(values[row]), threshold, float(margins[row]), rank)
                for rank, row in enumerate(best)
            ]
    return errors


def with_pictures(
    recognizer: Recognizer, errors: Sequence[PredictionError], split: LabelledSplit, max_bytes: int
) -> list[PredictionError]:
    """The errors whose pictures fit in `max_bytes`, with them: the first of every attribute before the second of any.

    Raises:
        InputError: an image cannot be read.
    """
    if not errors:
        return []
    ordered = sorted(errors, key=lambda error: error.rank)
    heat = recognizer.attention([split.paths[error.row] for error in ordered], split.texts).heat
    shown = []
    for error, maps in zip(ordered, heat, strict=True):
        crop = ImageOps.contain(load_image(split.paths[error.row]), PICTURE_SIZE, Image.Resampling.LANCZOS)
        picture = _data_uri(crop), _data_uri(overlay(crop, unit_range(maps[error.column])))
        max_bytes -= sum(map(len, picture))
        if max_bytes < 0:
            break
        shown.append(replace(error, picture=picture))
    return sorted(shown, key=lambda error: (error.column, not error.predicted_positive, error.rank))


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=62, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
