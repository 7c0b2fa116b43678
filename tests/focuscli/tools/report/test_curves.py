"""Curves against the metrics of predictions made at each threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.attributes import label_accuracy, pedestrian_metrics
from focuscli.tools.report.curves import threshold_curves


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
