"""Thresholds against an exhaustive search over every cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.thresholds import Thresholds, best_global_threshold, best_thresholds


def quality(labels, predicted, criterion):
    hits, false = (labels & predicted).sum(), (~labels & predicted).sum()
    if criterion == "mA":
        return (hits / labels.sum() + (~labels & ~predicted).sum() / (~labels).sum()) / 2
    if criterion == "F1":
        return 2 * hits / (labels.sum() + predicted.sum())
    return hits / (labels.sum() + false)


def test_an_attribute_without_both_classes_gets_the_global_threshold_or_the_median_score():
    scores = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.stack([scores[:, 0] > 0.3, np.zeros(40, dtype=bool)], axis=1)
    assert best_thresholds(labels, scores)[1] == best_global_threshold(labels, scores)
    scores = np.array([[1.0], [2.0], [10.0]])
    assert best_global_threshold(np.ones((3, 1), dtype=bool), scores) == 2.0
    assert best_thresholds(np.ones((3, 1), dtype=bool), scores).tolist() == [2.0]
    assert best_global_threshold(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_uncertain_cells_do_not_count():
    scores = np.array([[0.0], [1.0], [2.0], [3.0]])
    labels = np.array([[0], [1], [0], [1]])
    known = np.array([[True], [True], [False], [True]])
    assert 0 < best_thresholds(labels, scores, known)[0] < 1


def middle_of_the_best_cuts(labels, scores, criterion):
    """The documented choice, spelled out: between the two neighbours of the middle one of the best cuts."""
    values = sorted({*scores.tolist()}, reverse=True)
    qualities = [quality(labels, scores > values[0] + 1, criterion) if labels.any() else 0.0]
    qualities += [quality(labels, scores >= value, criterion) for value in values]
    best = [cut for cut, found in enumerate(qualities) if found >= max(qualities) - 1e-12]
    cut = best[len(best) // 2]
    margin = 1e-3 * max(1e-3, values[0] - values[-1])
    upper = values[cut - 1] if cut else values[0] + 2 * margin
    lower = values[cut] if cut < len(values) else values[-1] - 2 * margin
    return (upper + lower) / 2


@given(st.integers(0, 100_000), st.sampled_from(["mA", "F1", "Acc"]), st.sampled_from([0, 1, 8]))
@settings(max_examples=200, deadline=None)
def test_among_equal_cuts_the_middle_one_is_taken(seed, criterion, decimals):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(generator.integers(2, 20), 2)).round(decimals)
    labels = generator.random(scores.shape) < 0.5
    labels[0], labels[1] = True, False
    expected = [middle_of_the_best_cuts(labels[:, z], scores[:, z], criterion) for z in range(2)]
    assert best_thresholds(labels, scores, criterion=criterion) == pytest.approx(expected, abs=1e-12)


def test_all_present_and_none_present_get_a_margin():
    labels = np.array([[1], [0]], dtype=bool)
    assert best_thresholds(labels, np.array([[0.0], [4.0]]), criterion="F1")[0] == pytest.approx(-0.004)
    tied = np.zeros((3, 1))
    assert best_thresholds(np.array([[1], [0], [0]], dtype=bool), tied, criterion="F1")[0] == pytest.approx(-1e-6)


@given(st.integers(0, 100_000), st.sampled_from(["mA", "F1", "Acc"]), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_the_global_threshold_is_the_first_best_quantile(seed, criterion, candidates):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(20, 4))
    labels, known = (generator.random((20, 4)) < share for share in (0.4, 0.9))
    labels[0], labels[1], labels[:, 3] = True, False, False
    known[:2] = True
    grid = np.unique(np.quantile(scores, np.linspace(0, 1, candidates)))
    columns = [(labels[known[:, z], z], scores[known[:, z], z]) for z in range(3)]
    means = [np.mean([quality(truth, values > cut, criterion) for truth, values in columns]) for cut in grid]
    chosen = best_global_threshold(labels, scores, known, criterion=criterion, candidates=candidates)
    assert chosen in grid
    assert means[grid.tolist().index(chosen)] == pytest.approx(max(means), abs=1e-12)
    assert best_global_threshold(labels, scores, known) == best_global_threshold(labels, scores, known, candidates=512)


def test_thresholds_are_named_and_tell_their_source():
    generator = np.random.default_rng(3)
    scores, labels = generator.normal(size=(30, 2)), generator.random((30, 2)) < 0.5
    known = generator.random((30, 2)) < 0.9
    chosen = Thresholds.choose(["a", "b"], labels, scores, known, criterion="F1", split="val")
    expected = best_thresholds(labels, scores, known, criterion="F1")
    assert chosen.by_name == {"a": expected[0], "b": expected[1]}
    assert chosen.overall == best_global_threshold(labels, scores, known, criterion="F1")
    assert (chosen.source, chosen.unchosen) == ("val, criterion F1", ())
    one = Thresholds.choose(["a", "b"], labels * [True, False], scores, known, criterion="F1", split="val")
    assert one.unchosen == ("b",)
    assert one.by_name["b"] == one.overall
    with pytest.raises(ValueError, match="longer"):
        Thresholds.choose(["a"], labels, scores, known, criterion="F1", split="val")
