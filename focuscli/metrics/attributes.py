"""Metrics of pedestrian attribute recognition as pure functions of arrays; fractions, not percent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


def finite(value: float) -> float | None:
    """A number for JSON: None where it is undefined (NaN, infinity)."""
    return float(value) if math.isfinite(value) else None


def label_accuracy(targets: ArrayLike, predictions: ArrayLike, known: ArrayLike | None = None) -> dict[str, NDArray]:
    """Per-attribute (label-based) metrics; protocol of RAP, Li et al. 2016.

    Args:
        targets, predictions: N x Z of 0/1.
        known: N x Z, False where the label is uncertain and the cell is excluded. None: all count.

    Returns:
        Arrays of length Z: `mA` = (TP/P + TN/N) / 2, `recall` = TP/P, `specificity` = TN/N, `precision` = TP/(TP+FP),
        `f1`, `positives` and `negatives` (counts). What is undefined (no positive, no negative) is NaN; a precision
        without any predicted positive is 0, as in the literature.
    """
    truth, predicted, counted = _checked(targets, predictions, known)
    positives = (truth & counted).sum(axis=0)
    negatives = (~truth & counted).sum(axis=0)
    true_positives = (truth & predicted & counted).sum(axis=0)
    true_negatives = (~truth & ~predicted & counted).sum(axis=0)
    predicted_positive = (predicted & counted).sum(axis=0)
    recall = _ratio(true_positives, positives, undefined=np.nan)
    specificity = _ratio(true_negatives, negatives, undefined=np.nan)
    f1 = _ratio(2 * true_positives, positives + predicted_positive, undefined=0.0)
    return {
        "mA": (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        "precision": _ratio(true_positives, predicted_positive, undefined=0.0),
        "f1": np.where(positives > 0, f1, np.nan),
        "positives": positives,
        "negatives": negatives,
    }


def pedestrian_metrics(targets: ArrayLike, predictions: ArrayLike, known: ArrayLike | None = None) -> dict[str, float]:
    """The five metrics of the literature and the second F1.

    mA is the mean over attributes of (TP/P + TN/N) / 2; attributes without a positive or without a negative are excluded
    (NaN where none remains). Acc, Prec, Recall and F1 are computed per image and averaged: Acc is intersection over
    union of true and predicted attributes; F1 is the mean of the images' F1. F1h is the harmonic mean of the averaged
    Prec and Recall, which other papers print as F1; it is never below F1. An image where a ratio is 0/0 counts 0.

    Args:
        targets, predictions: N x Z of 0/1 (or bool).
        known: N x Z, False where the label is uncertain: such a cell is excluded from mA; in the per-image metrics its
            target counts as 0, as in the literature.

    Returns:
        {"mA", "Acc", "Prec", "Recall", "F1", "F1h"}, fractions; NaN for N = 0.

    Raises:
        ValueError: the shapes differ or a value is not 0 or 1.
    """
    truth, predicted, counted = _checked(targets, predictions, known)
    truth = truth & counted
    hits = (truth & predicted).sum(axis=1)
    wanted = truth.sum(axis=1)
    predicted_positive = predicted.sum(axis=1)
    precision = _mean(_ratio(hits, predicted_positive, undefined=0.0))
    recall = _mean(_ratio(hits, wanted, undefined=0.0))
    return {
        "mA": _mean(label_accuracy(targets, predictions, known)["mA"]),
        "Acc": _mean(_ratio(hits, (truth | predicted).sum(axis=1), undefined=0.0)),
        "Prec": precision,
        "Recall": recall,
        "F1": _mean(_ratio(2 * hits, wanted + predicted_positive, undefined=0.0)),
        "F1h": 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0 * precision,
    }


def average_precision(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> FloatArray:
    """Average precision per attribute: the step-wise area under the precision-recall curve (scikit-learn's definition).

    Args:
        targets: N x Z of 0/1. scores: N x Z, higher means present. known: N x Z, see `label_accuracy`.

    Returns:
        Array of length Z; NaN for an attribute without a positive.
    """
    result = np.full(np.shape(targets)[1], np.nan)
    for column, (labels, values) in enumerate(known_columns(targets, scores, known)):
        if not labels.any():
            continue
        order = np.argsort(-values, kind="stable")
        labels, values = labels[order], values[order]
        last_of_tie = np.r_[values[1:] != values[:-1], True]
        hits = np.cumsum(labels)[last_of_tie]
        rank = (np.arange(len(labels)) + 1)[last_of_tie]
        gained = np.diff(np.r_[0, hits]) / labels.sum()
        result[column] = float((gained * hits / rank).sum())
    return result


def area_under_roc(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> FloatArray:
    """Area under the ROC curve per attribute (rank statistic, ties count half); NaN where a class is missing.

    Args:
        targets: N x Z of 0/1. scores: N x Z. known: N x Z, see `label_accuracy`.
    """
    from scipy.stats import rankdata

    result = np.full(np.shape(targets)[1], np.nan)
    for column, (labels, values) in enumerate(known_columns(targets, scores, known)):
        positives, negatives = int(labels.sum()), int((~labels).sum())
        if positives and negatives:
            ranks = rankdata(values)
            result[column] = (ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return result


def known_columns(
    targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None
) -> Iterator[tuple[BoolArray, FloatArray]]:
    """For each column of N x Z targets and scores, the labels and scores of the rows where the label is known."""
    truth, values, counted = np.asarray(targets) > 0.5, np.asarray(scores, dtype=np.float64), _all_known(targets, known)
    for column in range(truth.shape[1]):
        rows = counted[:, column]
        yield truth[rows, column], values[rows, column]


def _checked(targets: ArrayLike, predictions: ArrayLike, known: ArrayLike | None) -> tuple[BoolArray, ...]:
    truth, predicted = np.asarray(targets), np.asarray(predictions)
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise ValueError(f"expected targets and predictions N x Z alike; got {truth.shape} and {predicted.shape}")
    counted = _all_known(targets, known)
    if counted.shape != truth.shape:
        raise ValueError(f"expected `known` of the shape of targets {truth.shape}; got {counted.shape}")
    for name, values in (("targets", truth[counted]), ("predictions", predicted)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} hold a value that is neither 0 nor 1")
    return (truth == 1) & counted, predicted == 1, counted


def _all_known(targets: ArrayLike, known: ArrayLike | None) -> BoolArray:
    return np.ones(np.shape(targets), dtype=bool) if known is None else np.asarray(known, dtype=bool)


def _ratio(numerator: NDArray, denominator: NDArray, *, undefined: float) -> FloatArray:
    result = np.full(np.shape(numerator), undefined, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _mean(values: NDArray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)
        return float(np.nanmean(values)) if values.size else float("nan")
