"""Curves against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics
from focuscli.tools.report.curves import attribute_curves, common_curve, threshold_grid


@st.composite
def labelled(draw):
    rows, columns = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = generator.random((rows, columns)) < 0.5
    known = generator.random((rows, columns)) < 0.8
    # Few different values, so that ties and scores equal to a threshold occur.
    scores = generator.integers(-4, 5, (rows, columns)).astype(np.float32) / 2
    return truth & known, scores, known


@given(labelled(), st.lists(st.integers(-5, 5).map(lambda n: n / 2), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_counts_equal_counting_one_by_one(case, marks):
    truth, scores, known = case
    columns = truth.shape[1]
    # As in `evaluate`, scores are compared in double precision.
    values = scores.astype(np.float64)
    texts = [(f"n{z}", f"p{z}") for z in range(columns)]
    curves = attribute_curves(truth, scores, known, texts, {"val": marks[:columns]}, threshold_grid(scores, 5))
    for z, curve in enumerate(curves):
        assert curve.thresholds == sorted(set(curve.thresholds))
        assert curve.thresholds[curve.marks["val"]] == marks[z]
        for at, threshold in enumerate(curve.thresholds):
            hits = sum(values[n, z] > threshold and truth[n, z] and known[n, z] for n in range(len(truth)))
            false = sum(values[n, z] > threshold and not truth[n, z] and known[n, z] for n in range(len(truth)))
            assert (curve.hits[at], curve.false[at]) == (hits, false)


@given(labelled())
@settings(max_examples=40, deadline=None)
def test_figures_of_an_attribute_equal_the_metrics_module(case):
    truth, scores, known = case
    (curve, *_) = attribute_curves(truth, scores, known, [("a", "a")] * truth.shape[1], {}, threshold_grid(scores, 4))
    for at, threshold in enumerate(curve.thresholds):
        expected = label_accuracy(truth, scores > np.float64(threshold), known)
        for name, value in curve.figures(at).items():
            wanted = expected[name][0]
            assert (value is None and np.isnan(wanted)) or value == pytest.approx(wanted)


def test_common_figures_equal_the_metrics_at_every_threshold():
    generator = np.random.default_rng(3)
    truth, scores = generator.random((30, 4)) < 0.4, generator.normal(size=(30, 4)).astype(np.float32)
    known = np.ones_like(truth)
    curve = common_curve(truth, scores, known, {"global": 0.25}, threshold_grid(scores, 7))
    assert len(curve.thresholds) == 8
    assert curve.thresholds[curve.marks["global"]] == 0.25
    for at, threshold in enumerate(curve.thresholds):
        expected = pedestrian_metrics(truth, scores > np.float64(threshold), known)
        assert {name: values[at] for name, values in curve.figures.items()} == pytest.approx(
            {name: expected[name] for name in curve.figures}
        )


def test_one_score_for_all_gives_a_curve_too():
    scores = np.full((3, 1), 2.0, dtype=np.float32)
    assert len(set(threshold_grid(scores).tolist())) == 1
    curve = common_curve(np.array([[True], [False], [True]]), scores, np.ones((3, 1), bool), {}, threshold_grid(scores))
    assert curve.figures["Recall"] == [0.0]
