"""Curves against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics
from focuscli.tools.report.curves import attribute_curve, common_curve, threshold_grid


@st.composite
def labelled(draw):
    rows, columns = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = generator.random((rows, columns)) < 0.5
    known = generator.random((rows, columns)) < 0.8
    # Few different values, so that ties and scores equal to a threshold occur.
    scores = generator.integers(-4, 5, (rows, columns)).astype(np.float32) / 2
    return truth & known, scores, known


@given(labelled(), st.integers(-5, 5), st.integers(-5, 5))
@settings(max_examples=60)
def test_an_attribute_curve_equals_counting_and_the_metrics_module(case, val, oracle):
    truth, scores, known = case
    sources = {"val": val / 2, "oracle": oracle / 2}
    keep = known[:, 0]
    curve = attribute_curve(truth[keep, 0], scores[keep, 0], "hat", "head", sources, threshold_grid(scores, 5))
    assert curve.thresholds == sorted(set(curve.thresholds))
    assert {source: curve.thresholds[position] for source, position in curve.positions.items()} == sources
    assert curve.positive_rate == (pytest.approx(truth[keep, 0].mean()) if keep.any() else None)
    for position, threshold in enumerate(curve.thresholds):
        # As in `evaluate`, scores are compared in double precision.
        predicted = scores[:, 0].astype(np.float64) > threshold
        assert curve.true_positives[position] == (predicted & truth[:, 0] & keep).sum()
        assert curve.false_positives[position] == (predicted & ~truth[:, 0] & keep).sum()
        expected = label_accuracy(truth[:, :1], predicted[:, None], known[:, :1])
        metrics = curve.metrics(position)
        for name in ("mA", "recall"):
            assert metrics[name] == pytest.approx(expected[name][0]) or (
                metrics[name] is None and np.isnan(expected[name][0])
            )
        if (predicted & keep).any():
            assert metrics["precision"] == pytest.approx(expected["precision"][0])
        else:
            assert metrics["precision"] is None


def test_common_metrics_equal_the_metrics_module_at_every_threshold():
    generator = np.random.default_rng(3)
    truth, scores = generator.random((30, 4)) < 0.4, generator.normal(size=(30, 4)).astype(np.float32)
    known = np.ones_like(truth)
    curve = common_curve(truth, scores, known, {"global": 0.25}, threshold_grid(scores, 7))
    assert len(curve.thresholds) == 8
    assert curve.thresholds[curve.positions["global"]] == 0.25
    for at, threshold in enumerate(curve.thresholds):
        expected = pedestrian_metrics(truth, scores > np.float64(threshold), known)
        assert {name: values[at] for name, values in curve.metrics.items()} == pytest.approx(
            {name: expected[name] for name in curve.metrics}
        )


def test_one_score_for_all_gives_a_curve_too():
    scores = np.full((3, 1), 2.0, dtype=np.float32)
    assert len(set(threshold_grid(scores).tolist())) == 1
    curve = common_curve(np.array([[True], [False], [True]]), scores, np.ones((3, 1), bool), {}, threshold_grid(scores))
    assert curve.metrics["Recall"] == [0.0]
