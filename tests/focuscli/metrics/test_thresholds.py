"""Thresholds against an exhaustive search over every cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.thresholds import best_global_threshold, best_thresholds


def quality(labels, predicted, criterion):
    hits, false = (labels & predicted).sum(), (~labels & predicted).sum()
    if criterion == "mA":
        return (hits / labels.sum() + (~labels & ~predicted).sum() / (~labels).sum()) / 2
    if criterion == "F1":
        return 2 * hits / (labels.sum() + predicted.sum())
    return hits / (labels.sum() + false)


@given(st.integers(0, 100_000), st.sampled_from(["mA", "F1", "Acc"]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_no_cut_is_better(seed, criterion, ties):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(25, 3))
    if ties:
        scores = scores.round(1)
    labels = generator.random((25, 3)) < 0.4
    labels[0], labels[1] = True, False
    chosen = best_thresholds(labels, scores, criterion=criterion)
    for z in range(3):
        values = np.unique(scores[:, z])
        cuts = [values[0] - 1, *values]
        best = max(quality(labels[:, z], scores[:, z] > cut, criterion) for cut in cuts)
        assert quality(labels[:, z], scores[:, z] > chosen[z], criterion) == pytest.approx(best, abs=1e-12)


def test_an_attribute_without_both_classes_gets_the_global_threshold():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(40, 2))
    labels = np.stack([scores[:, 0] > 0.3, np.zeros(40, dtype=bool)], axis=1)
    assert best_thresholds(labels, scores)[1] == best_global_threshold(labels, scores)


def test_uncertain_cells_do_not_count():
    scores = np.array([[0.0], [1.0], [2.0], [3.0]])
    labels = np.array([[0], [1], [0], [1]])
    known = np.array([[True], [True], [False], [True]])
    assert 0 < best_thresholds(labels, scores, known)[0] < 1


def test_the_threshold_stands_between_the_classes():
    scores = np.array([[-2.0], [-1.0], [4.0], [5.0]])
    labels = np.array([[0], [0], [1], [1]])
    assert best_thresholds(labels, scores)[0] == pytest.approx(1.5)
    assert -1 < best_global_threshold(labels, scores) < 5


def test_nothing_to_choose_from():
    assert best_global_threshold(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0
