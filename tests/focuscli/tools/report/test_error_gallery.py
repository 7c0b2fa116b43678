"""Which errors are the most confident ones, and which of them get pictures."""

from __future__ import annotations

import numpy as np

from focuscli.tools.report.error_gallery import confident_errors

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
