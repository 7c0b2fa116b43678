"""Curves against the metrics of predictions at each threshold, and which errors are the most confident ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics
from focuscli.tools.report.collect import confident_errors, threshold_curves


@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_every_point_equals_the_metrics_module(rows, columns, seed):
    generator = np.random.default_rng(seed)
    truth = generator.random((rows, columns)) < 0.5
    known = generator.random((rows, columns)) < 0.8
    # Few different values, so that ties and scores equal to a threshold occur.
    scores = generator.integers(-4, 5, (rows, columns)).astype(np.float32) / 2
    sources = {name: generator.integers(-5, 6, columns) / 2 for name in ("val", "oracle")}
    sources["global"] = np.full(columns, 0.25)
    common, curves = threshold_curves(truth, scores, known, sources)
    assert common.thresholds[common.positions["global"]] == 0.25
    for z, curve in enumerate(curves):
        assert (np.diff(curve.thresholds) >= 0).all()
        assert {name: curve.thresholds[at] for name, at in curve.positions.items()} == {
            name: values[z] for name, values in sources.items()
        }
        for at, threshold in enumerate(curve.thresholds):
            expected = label_accuracy(truth, scores.astype(np.float64) > threshold, known)
            for name, key in (("mA", "mA"), ("recall", "recall"), ("precision", "precision"), ("F1", "f1")):
                assert curve.metrics[name][at] == pytest.approx(expected[key][z], nan_ok=True)
    for at, threshold in enumerate(common.thresholds):
        expected = pedestrian_metrics(truth, scores.astype(np.float64) > threshold, known)
        for name, key in (("mA", "mA"), ("recall", "Recall"), ("precision", "Prec"), ("F1", "F1")):
            assert common.metrics[name][at] == pytest.approx(expected[key], nan_ok=True)


TRUTH = np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 1]], dtype=bool)
SCORES = np.array([[3.0, 0.0], [5.0, 2.0], [1.0, 9.0], [0.0, 1.0], [2.0, 1.0]], dtype=np.float32)
THRESHOLDS = np.array([2.0, 1.0])


def errors(most, known):
    found = confident_errors(TRUTH, SCORES, known, THRESHOLDS, most)
    return [(error.column, error.predicted_positive, error.rank, error.row) for error in found]


def test_false_positives_then_false_negatives_the_most_confident_first():
    known = np.ones_like(TRUTH)
    # Attribute 0, threshold 2: 1 and 0 are false positives, 3 and 2 false negatives; a score of 2.0 is negative.
    first = [(0, True, 0, 1), (0, True, 1, 0), (0, False, 0, 3), (0, False, 1, 2)]
    # Attribute 1, threshold 1: 2 is a false positive, 0 and 4 are false negatives, 4 with no margin at all.
    assert errors(3, known) == [*first, (1, True, 0, 2), (1, False, 0, 0), (1, False, 1, 4)]
    margins = [error.margin for error in confident_errors(TRUTH, SCORES, known, THRESHOLDS, 3)]
    assert margins[0] == np.float64(3.0) / SCORES[:, 0].astype(np.float64).std()
    assert margins[-1] == 0.0
    assert errors(1, known) == [(0, True, 0, 1), (0, False, 0, 3), (1, True, 0, 2), (1, False, 0, 0)]
    assert errors(0, known) == []
    known[1, 0] = False  # an uncertain label is no error
    assert errors(1, known)[0] == (0, True, 0, 0)
