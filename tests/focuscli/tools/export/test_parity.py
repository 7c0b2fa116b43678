"""How an export is compared with its checkpoint."""

from __future__ import annotations

import re

import numpy as np
import pytest

from focuscli.tools.export.parity import FP32_TOLERANCE, INT8_TOLERANCE, compare, drawn_crops

THRESHOLDS = np.array([0.0, 1.0, np.nan])


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_figures_equal_a_slow_loop(scores):
    other = (scores + np.random.default_rng(1).normal(scale=0.3, size=scores.shape)).astype(np.float32)
    found = compare("x", scores, other, THRESHOLDS)
    differences = [abs(float(scores[n, z]) - float(other[n, z])) for n in range(20) for z in range(3)]
    assert found.largest == pytest.approx(max(differences))
    assert found.mean == pytest.approx(sum(differences) / 60)
    assert found.rms == pytest.approx((sum(d * d for d in differences) / 60) ** 0.5)
    assert found.decisions == 40
    changed = sum((scores[n, z] > THRESHOLDS[z]) != (other[n, z] > THRESHOLDS[z]) for n in range(20) for z in (0, 1))
    assert found.changed == changed > 0
    assert found.spread == pytest.approx(np.mean([np.std(scores[:, z].astype(float)) for z in range(3)]))
    assert (found.images, found.texts) == (20, 3)


@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
def test_fp32_is_measured_by_its_largest_difference(scores, share, passes):
    other = scores.copy()
    other[3, 1] += share * FP32_TOLERANCE * np.abs(scores).max()
    assert (compare("x", scores, other, THRESHOLDS).problem("fp32") is None) is passes


@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
def test_int8_is_measured_by_the_root_mean_square(scores, share, passes):
    other = scores + share * INT8_TOLERANCE * scores.std(axis=0, dtype=np.float64).mean()
    found = compare("x", scores, other.astype(np.float32), THRESHOLDS)
    assert (found.problem("int8") is None) is passes
    assert found.problem("fp32") is not None


def test_what_is_said_to_be_too_much_is_more_than_what_is_allowed(scores):
    spread = scores.std(axis=0, dtype=np.float64).mean()
    for share, told in ((0.2503, None), (0.2508, "off by 0.251 of .* where 0.250 is allowed")):
        problem = compare("x", scores, (scores + share * spread).astype(np.float32), THRESHOLDS).problem("int8")
        assert problem is None if told is None else re.search(told, problem)


def test_scores_without_spread(scores):
    same = np.ones_like(scores)
    assert compare("x", same, same, THRESHOLDS).problem("int8") is None
    assert "off by inf" in compare("x", same, same + 1, THRESHOLDS).problem("int8")


def test_no_number_is_no_score(scores):
    other = scores.copy()
    other[0, 0] = np.nan
    for precision in ("fp32", "int8"):
        assert "finite" in compare("x", scores, other, THRESHOLDS).problem(precision)


def test_drawn_crops_are_the_same_every_time():
    first = drawn_crops(3, (32, 16))
    assert first.shape == (3, 32, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, drawn_crops(3, (32, 16)))
    assert not np.array_equal(first[0], first[1])
