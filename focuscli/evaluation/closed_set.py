"""Closed-set evaluation: the figures of a split, with the source of every threshold (spec section 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import AttributeSchema, Text, text_targets
from focuscli.data.splits import shared_persons
from focuscli.errors import InputError
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import area_under_roc, average_precision, finite, label_accuracy, pedestrian_metrics
from focuscli.metrics.thresholds import Criterion, best_thresholds

ThresholdMode = Literal["val", "global", "oracle"]


@dataclass(frozen=True)
class AttributeFigures:
    """One row of the per-attribute table; fractions, None where undefined."""

    name: str
    phrase: str
    region: str
    threshold: float
    positives: int
    mA: float | None
    recall: float | None
    specificity: float | None
    precision: float | None
    f1: float | None
    AP: float | None
    AUC: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """What `focus eval` shows and saves; fractions, not percent.

    Attributes:
        metrics: mA, Acc, Prec, Recall, F1 (mean of per-image F1), F1h (harmonic mean of Prec and Recall), mAP, AUC.
        unseen_persons: the same on images of persons that are not in train or val, with their number; None where
            persons are unknown or all are unseen.
        identity: how many of the split's known persons, `shared` of `persons`, are also in train or val, and in how
            many `images` of the split; None where no person is known, or the split itself was trained on.
        threshold_source: where the thresholds come from, for every table and file.
        notes: what a reader of the figures must know.
    """

    dataset: str
    split: str
    images: int
    checkpoint: str
    weights: str
    trained_on: str
    threshold_source: str
    metrics: dict[str, float | None]
    unseen_persons: dict[str, float | None] | None
    identity: dict[str, int] | None
    attributes: list[AttributeFigures]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    recognizer: Recognizer,
    folder: DatasetFolder,
    split: str = "test",
    *,
    threshold: ThresholdMode = "val",
    criterion: Criterion | None = None,
    uncertain: Literal["mask", "negative"] | None = None,
    batch_size: int = 128,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    scores: NDArray[np.float32] | None = None,
) -> EvaluationReport:
    """Score a checkpoint on the evaluated attributes of a split.

    Args:
        threshold: "val" per attribute, as chosen in training on val; "global" one value, chosen there too; "oracle" per
            attribute on this very split, which is optimistic.
        criterion: what "oracle" maximises; None: as in the run's configuration.
        uncertain: how labels of value 2 count; None: as in the run's configuration.
        scores: [N, A] of the split's images where the caller has them already; else the images are scored.

    Raises:
        InputError: the dataset has other attributes than the checkpoint, no such split, or the split is empty.
    """
    labelled = label_split(recognizer, folder, split, uncertain=uncertain)
    indices, texts, truth, known = labelled.indices, labelled.texts, labelled.truth, labelled.known
    if scores is None:
        scores = recognizer.score_files(
            labelled.paths, texts, batch_size=batch_size, workers=workers, progress=progress
        )
    thresholds, source = _thresholds(recognizer, folder, split, threshold, criterion, truth, scores, known)
    predictions = scores > thresholds

    figures = label_accuracy(truth, predictions, known)
    precision, area = average_precision(truth, scores, known), area_under_roc(truth, scores, known)
    names = [text.attribute or text.phrase for text in texts]
    rows = [
        AttributeFigures(
            name=names[z],
            phrase=texts[z].phrase,
            region=texts[z].region,
            threshold=float(thresholds[z]),
            positives=int(figures["positives"][z]),
            **{key: finite(figures[key][z]) for key in ("mA", "recall", "specificity", "precision", "f1")},
            AP=finite(precision[z]),
            AUC=finite(area[z]),
        )
        for z in range(len(texts))
    ]
    fresh = _unseen_persons(recognizer, folder, indices)
    return EvaluationReport(
        dataset=folder.schema.name,
        split=split,
        images=len(indices),
        checkpoint=str(recognizer.folder),
        weights=recognizer.weights,
        trained_on=recognizer.trained_on,
        threshold_source=source,
        metrics=_metrics(truth, predictions, scores, known),
        unseen_persons=None
        if fresh is None
        else {"images": int(fresh.sum()), **_metrics(truth[fresh], predictions[fresh], scores[fresh], known[fresh])},
        identity=_identity(recognizer, folder, indices),
        attributes=rows,
        notes=_notes(recognizer, folder, rows, known),
    )


@dataclass(frozen=True)
class LabelledSplit:
    """The images of a split with what is true of them: indices [N] in the folder, truth and known [N, A]."""

    indices: NDArray[np.int64]
    paths: list[Path]
    texts: tuple[Text, ...]
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_]


def label_split(
    recognizer: Recognizer,
    folder: DatasetFolder,
    split: str,
    *,
    uncertain: Literal["mask", "negative"] | None = None,
) -> LabelledSplit:
    """Which images a closed-set evaluation scores, against which texts, and what is true of them; see `evaluate`.

    Raises:
        InputError: the dataset has other attributes than the checkpoint, no such split, or the split is empty.
    """
    check_same_attributes(recognizer, folder.schema)
    folder.require_images()
    indices = folder.select(split)
    if not len(indices):
        raise InputError(f"Split {split} of {folder.path} is empty.")
    texts = folder.schema.texts(complements=False)
    labels = folder.labels[indices]
    if (uncertain or recognizer.config.data.uncertain) == "negative":
        labels = np.where(labels == 2, 0, labels).astype(labels.dtype)
    targets, known = text_targets(labels, folder.schema, texts)
    paths = [folder.image_path(int(index)) for index in indices]
    return LabelledSplit(indices, paths, texts, targets > 0.5, known)


def check_same_attributes(recognizer: Recognizer, schema: AttributeSchema) -> None:
    """Refuse a closed-set evaluation whose attributes differ from those that the checkpoint was trained on.

    Raises:
        InputError: with both names and the first differences.
    """
    ours = [(text.attribute, text.phrase, text.region) for text in recognizer.schema.texts(complements=False)]
    theirs = [(text.attribute, text.phrase, text.region) for text in schema.texts(complements=False)]
    if ours == theirs:
        return
    new = [str(name) for name, *_ in theirs if name not in {known for known, *_ in ours}]
    difference = f"; not among the trained ones: {', '.join(new[:4])}" if new else "; phrases, regions or order differ"
    raise InputError(
        f"This model was trained on {recognizer.schema.name} ({len(ours)} attributes), but closed-set figures on "
        f"{schema.name} need its {len(theirs)}{difference}.",
        f"Evaluate on the dataset it was trained on, or train one: focus train --dataset {schema.name}",
    )


def check_same_data(recognizer: Recognizer, folder: DatasetFolder) -> None:
    """Refuse a dataset of the trained one's name or schema with other content: another split of the same images would be
    tested on what was trained on, and nothing in the figures would show it.

    Raises:
        InputError: with both fingerprints and the way out.
    """
    same = (
        folder.schema.name == recognizer.schema.name or folder.schema.fingerprint() == recognizer.schema.fingerprint()
    )
    if not same or recognizer.data_fingerprint in ("", folder.fingerprint):
        return
    where = f" ({recognizer.config.data.dataset})" if recognizer.config.data.dataset else ""
    raise InputError(
        f"This model was trained on another state of {recognizer.schema.name}: its data have the fingerprint "
        f"{recognizer.data_fingerprint[:12]}, {folder.path} has {folder.fingerprint[:12]}. With another split its test "
        "images may have been trained on.",
        f"Name the dataset that it was trained on{where}; or, where these are other images, add --other-data.",
    )


def _thresholds(
    recognizer: Recognizer,
    folder: DatasetFolder,
    split: str,
    mode: ThresholdMode,
    criterion: Criterion | None,
    truth: NDArray,
    scores: NDArray,
    known: NDArray,
) -> tuple[NDArray[np.float64], str]:
    if mode == "oracle":
        criterion = criterion or recognizer.config.eval.criterion
        chosen = best_thresholds(truth, scores, known, criterion=criterion)
        return chosen, f"oracle: chosen on {folder.schema.name} {split} itself, criterion {criterion}; optimistic"
    if mode == "global":
        return np.full(
            scores.shape[1], recognizer.global_threshold
        ), f"global: one value, {recognizer.threshold_source}"
    values = [recognizer.thresholds[attribute.name] for attribute in folder.schema.evaluated]
    return np.array(values), f"val: per attribute, {recognizer.threshold_source}"


def _metrics(truth: NDArray, predictions: NDArray, scores: NDArray, known: NDArray) -> dict[str, float | None]:
    figures: dict[str, float | None] = {
        name: finite(value) for name, value in pedestrian_metrics(truth, predictions, known).items()
    }
    for name, values in (
        ("mAP", average_precision(truth, scores, known)),
        ("AUC", area_under_roc(truth, scores, known)),
    ):
        defined = values[np.isfinite(values)]
        figures[name] = float(defined.mean()) if len(defined) else None
    return figures


def _unseen_persons(
    recognizer: Recognizer, folder: DatasetFolder, indices: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Which of the images show a person who is in neither train nor val; None where that says nothing new."""
    if folder.fingerprint != recognizer.data_fingerprint:
        return None
    persons = folder.persons[indices]
    known = persons != ""
    fresh = known & ~np.isin(persons, folder.persons[_in_training(folder)])
    return fresh if known.any() and fresh.any() and not fresh.all() else None


def _identity(recognizer: Recognizer, folder: DatasetFolder, indices: NDArray[np.int64]) -> dict[str, int] | None:
    trained = _in_training(folder)
    if folder.fingerprint != recognizer.data_fingerprint or np.isin(indices, trained).any():
        return None
    shared, persons, images = shared_persons(folder.persons, trained, indices)
    return {"shared": shared, "persons": persons, "images": images} if persons else None


def _in_training(folder: DatasetFolder) -> NDArray[np.int64]:
    """Images that training saw: for the weights, or in val for thresholds and the choice of the epoch."""
    return np.flatnonzero(np.isin(folder.splits, ("train", "val")))


def _notes(
    recognizer: Recognizer, folder: DatasetFolder, rows: list[AttributeFigures], known: NDArray[np.bool_]
) -> list[str]:
    notes = []
    undefined = [row.name for row in rows if row.mA is None]
    if undefined:
        notes.append(f"left out of mA, no positive or no negative in this split: {', '.join(undefined)}")
    if not known.all():
        notes.append(f"{int((~known).sum())} uncertain labels are masked")
    if recognizer.data_fingerprint not in ("", folder.fingerprint):
        notes.append("this is not the data that the model was trained on: another domain, or the labels have changed")
    if recognizer.config.data.train_split == "trainval":
        notes.append("trained on train + val: thresholds and best epoch come from images that were trained on")
    return notes
