"""Retrieval metrics against loops written from the definitions, against enumeration of all cases, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.metrics.retrieval import (
    grouped_chance,
    grouped_chance_last_positive,
    grouped_macro_recall,
    grouped_recall,
    grouped_recall_last_positive,
    hit_rate,
    majority_scores,
    precision_at_k,
)


@st.composite
def problems(draw, ties=True):
    """Scores, targets and group names; few different scores, so that ties are common."""
    count, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    groups = draw(st.lists(st.sampled_from(["age", "hat", "upper body"]), min_size=width, max_size=width))
    targets = draw(
        st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=count, max_size=count)
    )
    row = st.lists(st.integers(0, 3), min_size=width, max_size=width) if ties else st.permutations(range(width))
    return draw(st.lists(row, min_size=count, max_size=count)), targets, groups


def loop_recall(scores, targets, groups, ks):
    """From the words of the definition: one image and one group at a time."""
    result = {}
    for name in dict.fromkeys(groups):
        members = [z for z in range(len(groups)) if groups[z] == name]
        hits, images = dict.fromkeys(ks, 0), 0
        for row, truth in zip(scores, targets, strict=True):
            if not any(truth[z] for z in members):
                continue
            images += 1
            ranked = sorted(members, key=lambda z, row=row: (-row[z], z))
            for k in ks:
                hits[k] += any(truth[z] for z in ranked[:k])
        if images:
            result[name] = {f"R@{k}": hits[k] / images for k in ks}
    return with_mean(result, ks)


def with_mean(result, ks):
    count = len(result)
    mean = {f"R@{k}": sum(v[f"R@{k}"] for v in result.values()) / count if count else math.nan for k in ks}
    return {**result, "mean": mean}


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, figures in theirs.items():
        assert ours[name] == pytest.approx(figures, abs=1e-12, nan_ok=True), name


@given(problems(), st.sampled_from([(1, 2), (1,), (3, 1), (1, 2, 9)]))
@settings(max_examples=200, deadline=None)
def test_recall_is_the_loop(problem, ks):
    scores, targets, groups = problem
    assert_same(grouped_recall(scores, targets, groups, ks), loop_recall(scores, targets, groups, ks))


def test_a_group_without_any_image_is_left_out_and_does_not_weigh():
    figures = grouped_recall([[1, 0, 5]], [[0, 1, 0]], ["a", "a", "b"])
    assert list(figures) == ["a", "mean"]
    assert figures["mean"] == {"R@1": 0, "R@2": 1}
    empty = grouped_recall(np.zeros((0, 2)), np.zeros((0, 2)), ["a", "b"])
    assert list(empty) == ["mean"]
    assert math.isnan(empty["mean"]["R@1"])


@pytest.mark.parametrize(
    ("scores", "targets", "groups", "ks", "word"),
    [
        ([[1, 2]], [[1]], ["a"], (1,), "N x Z"),
        ([1, 2], [1, 0], ["a", "a"], (1,), "N x Z"),
        ([[1, 2]], [[1, 0]], ["a"], (1,), "group name"),
        ([[1, 2]], [[1, 2]], ["a", "a"], (1,), "neither 0 nor 1"),
        ([[1, math.nan]], [[1, 0]], ["a", "a"], (1,), "NaN"),
        ([[1, 2]], [[1, 0]], ["a", "a"], (0,), "ks"),
        ([[1, 2]], [[1, 0]], ["a", "a"], (), "ks"),
        ([[1, 2]], [[1, 0]], ["a", "mean"], (1,), "mean"),
    ],
)
def test_recall_refuses(scores, targets, groups, ks, word):
    with pytest.raises(ValueError, match=word):
        grouped_recall(scores, targets, groups, ks)


def poar_loop(order, truth_in_some_order):
    """POAR's variables as its program overwrites them: (top 1, top 2) of one image."""
    top1 = top2 = 0
    for positive in truth_in_some_order:
        first, second = int(order[0] == positive), int(positive in order[:2])
        if first >= top1:
            top1, top2 = first, second
    return top1, top2


@given(problems(ties=False))
@settings(max_examples=100, deadline=None)
def test_last_positive_is_the_mean_of_poars_loop_over_all_orders(problem):
    scores, targets, groups = problem
    ours, any_positive = grouped_recall_last_positive(scores, targets, groups), grouped_recall(scores, targets, groups)
    result = {}
    for name in dict.fromkeys(groups):
        members = [z for z in range(len(groups)) if groups[z] == name]
        values = []
        for row, truth in zip(scores, targets, strict=True):
            positives = [z for z in members if truth[z]]
            if positives:
                order = sorted(members, key=lambda z, row=row: -row[z])
                runs = [poar_loop(order, way) for way in itertools.permutations(positives)]
                values.append(np.mean(runs, axis=0))
        if values:
            one, two = np.mean(values, axis=0)
            result[name] = {"R@1": one, "R@2": two}
    assert_same(ours, with_mean(result, (1, 2)))
    for name, figures in ours.items():
        assert figures["R@1"] == pytest.approx(any_positive[name]["R@1"], nan_ok=True)
        assert not figures["R@2"] > any_positive[name]["R@2"] + 1e-12


@pytest.mark.parametrize("truth", [[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1]])
def test_chance_is_the_mean_over_all_rankings(truth):
    groups = ["a"] * len(truth)
    rankings = [list(order) for order in itertools.permutations(range(len(truth)))]
    targets = [truth] * len(rankings)
    assert_same(grouped_chance([truth], groups), grouped_recall(rankings, targets, groups))
    assert_same(grouped_chance_last_positive([truth], groups), grouped_recall_last_positive(rankings, targets, groups))
    assert_same(grouped_chance([truth], groups, (3,)), grouped_recall(rankings, targets, groups, (3,)))


@given(problems(ties=False))
@settings(max_examples=100, deadline=None)
def test_macro_recall_is_the_loop(problem):
    scores, targets, groups = problem
    result = {}
    for name in dict.fromkeys(groups):
        members = [z for z in range(len(groups)) if groups[z] == name]
        per_text = {1: [], 2: []}
        for z in members:
            rows = [row for row, truth in zip(scores, targets, strict=True) if truth[z]]
            for k, values in per_text.items():
                if rows:
                    inside = [sum(row[other] > row[z] for other in members) < k for row in rows]
                    values.append(sum(inside) / len(rows))
        if per_text[1]:
            result[name] = {f"R@{k}": sum(values) / len(values) for k, values in per_text.items()}
    assert_same(grouped_macro_recall(scores, targets, groups), with_mean(result, (1, 2)))


def test_the_blind_predictor_says_the_most_frequent_words_and_is_at_chance_per_word():
    groups = ["age", "age", "age", "hat", "hat"]
    training = [[1, 0, 0, 1, 0]] * 5 + [[0, 1, 0, 0, 1]] * 3 + [[0, 0, 1, 0, 1]]
    scores = majority_scores(training, 4)
    assert scores.tolist() == [[5, 3, 1, 5, 4]] * 4
    targets = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1], [1, 0, 0, 0, 1]])
    assert grouped_recall(scores, targets, groups)["age"] == {"R@1": 0.5, "R@2": 0.75}
    macro = grouped_macro_recall(scores, targets, groups)
    assert macro["age"] == {"R@1": pytest.approx(1 / 3), "R@2": pytest.approx(2 / 3)}
    assert macro["hat"] == {"R@1": 0.5, "R@2": 1}
    assert macro["mean"]["R@1"] == pytest.approx((1 / 3 + 1 / 2) / 2)


@given(problems(), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_precision_at_k_is_the_mean_over_all_orders_of_ties(problem, k):
    scores, targets, _ = problem
    scores, targets = scores[:5], targets[:5]
    ours = precision_at_k(targets, scores, (k,))[f"P@{k}"]
    for z in range(len(scores[0])):
        truth = [row[z] for row in targets]
        if not any(truth) or len(truth) < k:
            assert math.isnan(ours[z])
            continue
        values = []
        for order in itertools.permutations(range(len(truth))):
            ranked = sorted(order, key=lambda i, z=z: -scores[i][z])
            values.append(sum(truth[i] for i in ranked[:k]) / k)
        assert ours[z] == pytest.approx(np.mean(values), abs=1e-12)


def test_uncertain_images_are_not_in_the_gallery():
    targets, scores = [[1], [0], [1], [0]], [[4], [3], [2], [1]]
    assert precision_at_k(targets, scores, (2,))["P@2"].tolist() == [0.5]
    known = [[True], [False], [True], [True]]
    assert precision_at_k(targets, scores, (2,), known)["P@2"].tolist() == [1.0]
    with pytest.raises(ValueError, match="ks"):
        precision_at_k(targets, scores, (0,))
    with pytest.raises(ValueError, match="N x Z"):
        precision_at_k(targets, [[1]], (1,))


def test_the_hit_rate_keeps_the_last_of_equal_words():
    targets = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    scores = [[1, 1, 9], [5, 9, 5], [9, 5, 5]]
    # Column 0: best is image 2, wrong. Column 1: image 1, right. Column 2: image 0, wrong.
    assert hit_rate(targets, scores, ["hat", "bag", "shoe"], (1, 2))["hit@1"] == pytest.approx(1 / 3)
    assert hit_rate(targets, scores, ["hat", "bag", "bag"], (1,))["hit@1"] == 0
    assert hit_rate(targets, scores, ["hat", "hat", "shoe"], (1, 3)) == {"hit@1": 0.5, "hit@3": 1.0}
    assert math.isnan(hit_rate(np.zeros((1, 0)), np.zeros((1, 0)), [])["hit@1"])
