"""Metrics against loops written from the definitions, hand-typed matrices, and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.attributes import area_under_roc, average_precision, finite, label_accuracy, pedestrian_metrics


def loop_metrics(targets, predictions):
    """From the words of the definitions, one image and one attribute at a time."""
    balanced = []
    for z in range(len(targets[0])):
        positive = [i for i in range(len(targets)) if targets[i][z]]
        negative = [i for i in range(len(targets)) if not targets[i][z]]
        if positive and negative:
            sensitivity = sum(predictions[i][z] for i in positive) / len(positive)
            specificity = sum(1 - predictions[i][z] for i in negative) / len(negative)
            balanced.append((sensitivity + specificity) / 2)
    accuracy, precision, recall, f1 = [], [], [], []
    for truth, guess in zip(targets, predictions, strict=True):
        both = sum(t and g for t, g in zip(truth, guess, strict=True))
        either = sum(t or g for t, g in zip(truth, guess, strict=True))
        p = both / sum(guess) if sum(guess) else 0
        r = both / sum(truth) if sum(truth) else 0
        accuracy.append(both / either if either else 0)
        precision.append(p)
        recall.append(r)
        f1.append(2 * p * r / (p + r) if p + r else 0)

    def mean(values):
        return sum(values) / len(values) if values else math.nan

    p, r = mean(precision), mean(recall)
    return {
        "mA": mean(balanced),
        "Acc": mean(accuracy),
        "Prec": p,
        "Recall": r,
        "F1": mean(f1),
        "F1h": 2 * p * r / (p + r) if p + r else 0,
    }


labels = st.integers(1, 8).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=12)
)


@given(labels, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_equal_to_the_loop(targets, random):
    predictions = [[random.randint(0, 1) for _ in row] for row in targets]
    ours, theirs = pedestrian_metrics(targets, predictions), loop_metrics(targets, predictions)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
    assert ours["F1"] <= ours["F1h"] + 1e-12


def test_undefined_is_nan_and_none_in_json():
    assert math.isnan(pedestrian_metrics([[1], [1]], [[1], [0]])["mA"])
    assert all(math.isnan(value) for value in pedestrian_metrics(np.zeros((0, 3)), np.zeros((0, 3))).values())
    targets, scores = np.array([[1, 0], [1, 0]]), np.array([[0.1, 0.2], [0.3, 0.4]])
    assert np.isnan(area_under_roc(targets, scores)).all()
    assert average_precision(targets, scores)[0] == 1
    assert np.isnan(average_precision(targets, scores)[1])
    assert [finite(value) for value in (0.5, np.float32(2), np.nan, np.inf)] == [0.5, 2.0, None, None]
    assert type(finite(np.float32(2))) is float


def test_an_uncertain_label_may_have_any_value_and_counts_0_per_image():
    found = pedestrian_metrics([[2, 1], [1, 0]], [[1, 1], [1, 0]], [[False, True], [True, True]])
    assert (found["Prec"], found["Recall"], found["Acc"]) == (0.75, 1.0, 0.75)


@pytest.mark.parametrize(
    ("targets", "predictions", "known", "words"),
    [
        ([[2, 1]], [[1, 1]], None, "targets hold a value that is neither 0 nor 1"),
        ([[0, 1]], [[1, 3]], None, "predictions hold a value that is neither 0 nor 1"),
        ([[1, 0]], [[1]], None, "N x Z"),
        ([1, 0], [1, 0], None, "N x Z"),
        ([[1, 0]], [[1, 0]], [[True]], "known"),
    ],
)
def test_wrong_values_and_shapes_are_refused(targets, predictions, known, words):
    with pytest.raises(ValueError, match=words):
        pedestrian_metrics(targets, predictions, known)


@pytest.mark.parametrize("ties", [False, True])
def test_ranking_figures_equal_scikit_learn(ties):
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    targets = generator.random((200, 6)) < 0.3
    scores = generator.normal(size=(200, 6)) + targets
    if ties:
        scores = scores.round()
    for z in range(6):
        expected = sklearn.average_precision_score(targets[:, z], scores[:, z])
        assert average_precision(targets, scores)[z] == pytest.approx(expected, abs=1e-12)
        assert area_under_roc(targets, scores)[z] == pytest.approx(sklearn.roc_auc_score(targets[:, z], scores[:, z]))


@pytest.mark.parametrize("seed", range(4))
def test_label_based_metrics_by_counting(seed):
    generator = np.random.default_rng(seed)
    truth, predicted, known = (generator.random((30, 6)) < share for share in (0.4, 0.5, 0.9))
    truth[:, 4], truth[:, 5], predicted[:, 3] = False, True, False
    found = label_accuracy(truth, predicted, known)
    assert list(found) == ["mA", "recall", "specificity", "precision", "f1", "positives", "negatives"]
    for z in range(6):
        cells = [(bool(t), bool(p)) for t, p, k in zip(truth[:, z], predicted[:, z], known[:, z], strict=True) if k]
        tp, fn, fp, tn = (cells.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False)))
        recall = tp / (tp + fn) if tp + fn else np.nan
        specificity = tn / (tn + fp) if tn + fp else np.nan
        expected = {
            "mA": (recall + specificity) / 2,
            "recall": recall,
            "specificity": specificity,
            "precision": tp / (tp + fp) if tp + fp else 0.0,
            "f1": 2 * tp / (2 * tp + fp + fn) if tp + fn else np.nan,
            "positives": tp + fn,
            "negatives": tn + fp,
        }
        assert {name: values[z] for name, values in found.items()} == pytest.approx(expected, nan_ok=True)
