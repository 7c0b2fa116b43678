"""Closed-set evaluation: the metrics of a split, with the source of every threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import UNCERTAIN, Text, text_targets
from focuscli.data.splits import shared_persons
from focuscli.engine.scoring import Progress
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import InputError, plural
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import area_under_roc, average_precision, finite, label_accuracy, pedestrian_metrics
from focuscli.metrics.thresholds import Criterion, Thresholds, best_thresholds
from focuscli.storage.paths import dataset_argument

THRESHOLDS = ("val", "global", "oracle")
"""Where thresholds come from, see `evaluate`."""
RATES = ("mA", "recall", "specificity", "precision", "f1", "AP", "AUC")


@dataclass(frozen=True)
class AttributeMetrics:
    """One row of the per-attribute table; fractions, None where undefined."""

    name: str
    phrase: str
    region: str
    threshold: float
    threshold_source: str
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
        unseen_persons: the same on images of persons who are not in train or val, with the number of images; None where
            persons are unknown or all are unseen.
        identity: how many of the split's known persons, `shared` of `persons`, are also in train or val, and in how
            many `images` of the split; None where no person is known, or the split itself was trained on.
    """

    dataset: str
    split: str
    images: int
    checkpoint: str
    weights: str
    trained_on: str
    epochs: str
    threshold_source: str
    metrics: dict[str, float | None]
    unseen_persons: dict[str, float | None] | None
    identity: dict[str, int] | None
    attributes: list[AttributeMetrics]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class LabelledSplit:
    """The images of a split and their labels: indices [N] in the folder, truth and known [N, A]."""

    indices: NDArray[np.int64]
    paths: list[Path]
    texts: tuple[Text, ...]
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_]


def evaluate(
    recognizer: Recognizer,
    folder: DatasetFolder,
    split: str = "test",
    *,
    threshold: str = "val",
    criterion: Criterion | None = None,
    workers: int = 2,
    progress: Progress | None = None,
    scores: NDArray[np.float32] | None = None,
) -> EvaluationReport:
    """Score a checkpoint on the evaluated attributes of a split.

    Args:
        threshold: "val" per attribute, as chosen on val in training; "global" one value, chosen there too; "oracle" per
            attribute on this very split, which is optimistic.
        criterion: what "oracle" maximises; None: as in the run's configuration.
        scores: [N, A] of the split's images where the caller has them already; else the images are scored.

    Raises:
        InputError: the dataset has other attributes than the checkpoint, no images, or no such split.
    """
    labelled = label_split(recognizer, folder, split)
    truth, known = labelled.truth, labelled.known
    if scores is None:
        scores = recognizer.score_files(labelled.paths, labelled.texts, workers=workers, progress=progress)
    if threshold == "oracle":
        criterion = criterion or recognizer.config.eval.criterion
        thresholds = best_thresholds(truth, scores, known, criterion=criterion)
        source = f"oracle: chosen on {folder.name} {split} itself, criterion {criterion}; optimistic"
    elif threshold == "global":
        thresholds = np.full(scores.shape[1], recognizer.global_threshold)
        source = f"global: one value, chosen on {recognizer.threshold_source}"
    else:
        thresholds = np.array([recognizer.thresholds[attribute.name] for attribute in folder.schema.evaluated])
        source = f"val: per attribute, chosen on {recognizer.threshold_source}"
    vocabulary = recognizer.vocabulary
    unchosen = () if threshold in ("oracle", vocabulary.fallback) else vocabulary.unchosen
    data = (truth, scores > thresholds, scores, known)
    rates = label_accuracy(truth, data[1], known)
    rates |= {"AP": average_precision(truth, scores, known), "AUC": area_under_roc(truth, scores, known)}
    rows = [
        AttributeMetrics(
            name=text.attribute or text.phrase,
            phrase=text.phrase,
            region=text.region,
            threshold=float(thresholds[z]),
            threshold_source=vocabulary.fallback if text.attribute in unchosen else threshold,
            positives=int(rates["positives"][z]),
            **{key: finite(rates[key][z]) for key in RATES},
        )
        for z, text in enumerate(labelled.texts)
    ]
    unseen, identity = _persons(recognizer, folder, labelled.indices)
    notes = []
    if undefined := [row.name for row in rows if row.mA is None]:
        notes.append(f"excluded from mA, no positive or no negative in this split: {', '.join(undefined)}")
    if recognizer.stopped:
        notes.append(f"this run was stopped early or is still running: {recognizer.stopped}")
    if unchosen:
        notes.append(
            f"threshold not chosen on val, which lacks positives or negatives, but {vocabulary.fallback}: "
            + ", ".join(unchosen)
        )
    if not known.all():
        notes.append(f"masked: {plural(int((~known).sum()), 'uncertain label')}")
    if recognizer.data_fingerprint not in ("", folder.fingerprint):
        notes.append("this is not the data that the model was trained on: another domain, or the labels have changed")
    if recognizer.config.data.train_split == "trainval":
        notes.append("trained on train + val: thresholds and best epoch come from images that were trained on")
    return EvaluationReport(
        dataset=folder.name,
        split=split,
        images=len(labelled.indices),
        checkpoint=str(recognizer.folder),
        weights=recognizer.weights,
        trained_on=recognizer.trained_on,
        epochs=recognizer.epochs,
        threshold_source=source,
        metrics=_metrics(*data),
        unseen_persons={"images": len(unseen), **_metrics(*(part[unseen] for part in data))} if unseen else None,
        identity=identity,
        attributes=rows,
        notes=notes,
    )


def choose_thresholds(
    recognizer: Recognizer, folder: DatasetFolder, *, workers: int = 2, progress: Progress | None = None
) -> None:
    """Give a recognizer without thresholds, such as zero-shot CLIP, thresholds chosen on a dataset's val images.

    Without a val split they are chosen on the 10% of train that a training run would hold out.

    Raises:
        InputError: the dataset has no train or val images, or an image is missing.
    """
    config = recognizer.config
    data = prepare_training_data(folder, config.data, config.train.seed)
    targets, known = data.labels(data.val)
    scores = recognizer.score_files(data.paths(data.val), recognizer.attributes, workers=workers, progress=progress)
    names = [attribute.name for attribute in folder.schema.evaluated]
    split = f"{data.val_note} of {folder.name}"
    chosen = Thresholds.choose(names, targets, scores, known, criterion=config.eval.criterion, split=split)
    recognizer.vocabulary = replace(recognizer.vocabulary, thresholds=chosen.by_name, unchosen=chosen.unchosen)
    recognizer.global_threshold, recognizer.threshold_source = chosen.overall, chosen.source


def label_split(recognizer: Recognizer, folder: DatasetFolder, split: str) -> LabelledSplit:
    """The images that a closed-set evaluation scores, the texts that it scores them against, and their labels.

    Raises:
        InputError: the dataset has other attributes than the checkpoint, no images, or no such split.
    """
    trained, schema = recognizer.schema, folder.schema
    ours, theirs = (
        [(text.attribute, text.phrase, text.region) for text in each.texts(complements=False)]
        for each in (trained, schema)
    )
    if ours != theirs:
        new = [str(name) for name, *_ in theirs if name not in {known for known, *_ in ours}]
        difference = f"not among the trained ones: {', '.join(new[:4])}" if new else "phrases, regions or order differ"
        raise InputError(
            f"This model was trained on {recognizer.dataset} ({plural(len(ours), 'attribute')}), but closed-set metrics on "
            f"{folder.name} need its {len(theirs)}; {difference}.",
            f"Evaluate on the dataset it was trained on, or train one: "
            f"focus train --dataset {dataset_argument(folder.path)}",
        )
    folder.require_images()
    indices = folder.select(split)
    texts = folder.schema.texts(complements=False)
    labels = folder.labels[indices]
    if recognizer.config.data.uncertain == "negative":
        labels = np.where(labels == UNCERTAIN, 0, labels).astype(labels.dtype)
    targets, known = text_targets(labels, folder.schema, texts)
    paths = [folder.image_path(int(index)) for index in indices]
    return LabelledSplit(indices, paths, texts, targets > 0.5, known)


def check_same_data(recognizer: Recognizer, folder: DatasetFolder) -> None:
    """Refuse a dataset with the name or schema of the trained one and other content. With another split of the same images
    it would be tested on what was trained on, and nothing in the metrics would show it.

    Raises:
        InputError: with both fingerprints and the way out.
    """
    trained = recognizer.schema
    others = folder.schema.name != trained.name and folder.schema.fingerprint() != trained.fingerprint()
    if others or recognizer.data_fingerprint in ("", folder.fingerprint):
        return
    where = f" ({recognizer.config.data.dataset})" if recognizer.config.data.dataset else ""
    raise InputError(
        f"This model was trained on another state of {recognizer.dataset}: its data have the fingerprint "
        f"{recognizer.data_fingerprint[:12]}, {folder.path} has {folder.fingerprint[:12]}. With another split its test "
        "images may have been trained on.",
        f"Name the dataset that it was trained on{where}; or, if these are other images, add --other-data.",
    )


def _metrics(truth: NDArray, predictions: NDArray, scores: NDArray, known: NDArray) -> dict[str, float | None]:
    metrics = {name: finite(value) for name, value in pedestrian_metrics(truth, predictions, known).items()}
    for name, function in (("mAP", average_precision), ("AUC", area_under_roc)):
        values = function(truth, scores, known)
        defined = values[np.isfinite(values)]
        metrics[name] = float(defined.mean()) if len(defined) else None
    return metrics


def _persons(
    recognizer: Recognizer, folder: DatasetFolder, indices: NDArray[np.int64]
) -> tuple[list[int] | None, dict[str, int] | None]:
    """Which of the images show a person who is in neither train nor val, and the report's `identity`; None: unknown."""
    if folder.fingerprint != recognizer.data_fingerprint:
        return None, None
    trained = np.flatnonzero(np.isin(folder.splits, ("train", "val")))
    persons = folder.persons[indices]
    unseen = np.flatnonzero((persons != "") & ~np.isin(persons, folder.persons[trained])).tolist()
    apart = unseen if 0 < len(unseen) < len(indices) else None
    if np.isin(indices, trained).any():
        return apart, None
    shared, known, images = shared_persons(folder.persons, trained, indices)
    return apart, {"shared": shared, "persons": known, "images": images} if known else None
