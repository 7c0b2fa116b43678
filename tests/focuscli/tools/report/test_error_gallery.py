"""Which errors are the most confident ones, and which of them get pictures."""

from __future__ import annotations

import numpy as np

from focuscli.tools.report.error_gallery import confident_errors

TRUTH = np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 1]], dtype=bool)
SCORES = np.array([[3.0, 0.0], [5.0, 2.0], [1.0, 9.0], [0.0, 1.0], [2.0, 1.0]], dtype=np.float32)


def errors(most=3, known=None):
    known = np.ones_like(TRUTH) if known is None else known
    return confident_errors(TRUTH, SCORES, known, [2.0, 1.0], list("abcde"), most)


def test_false_positives_then_false_negatives_the_most_confident_first():
    first, second = errors()
    # Attribute 0, threshold 2: b and a are false positives, d and c false negatives; a score of 2.0 is negative.
    assert [error.image for error in first] == ["b", "a", "d", "c"]
    assert [error.predicted_positive for error in first] == [True, True, False, False]
    # Attribute 1, threshold 1: c is a false positive, a and e are false negatives, e with no margin at all.
    assert [(error.image, error.predicted_positive) for error in second] == [("c", True), ("a", False), ("e", False)]
    assert second[2].margin == 0.0
    assert first[0].margin == np.float64(3.0) / SCORES[:, 0].astype(np.float64).std()
    assert (first[0].row, first[0].column, first[0].score, first[0].threshold) == (1, 0, 5.0, 2.0)


def test_at_most_so_many_of_each_kind_and_none_with_an_uncertain_label():
    assert [[error.image for error in row] for row in errors(most=1)] == [["b", "d"], ["c", "a"]]
    assert errors(most=0) == [[], []]
    known = np.ones_like(TRUTH)
    known[1, 0] = False
    assert [error.image for error in errors(known=known)[0]] == ["a", "d", "c"]


def test_an_error_has_its_rank_among_those_of_its_kind_and_attribute():
    assert [[error.rank for error in row] for row in errors()] == [[0, 1, 0, 1], [0, 0, 1]]
