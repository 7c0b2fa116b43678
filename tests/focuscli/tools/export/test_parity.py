"""How an export is compared with its checkpoint."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from focuscli.data.texts import Text
from focuscli.errors import CheckFailed
from focuscli.tools.export.parity import (
    FP32_TOLERANCE,
    INT8_TOLERANCE,
    SYNTHETIC,
    check_parity,
    compare,
    file_crops,
    synthetic_crops,
)

THRESHOLDS = np.array([0.0, 1.0, np.nan])


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_metrics_equal_a_slow_loop(scores):
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


def test_a_message_shows_more_than_what_is_allowed(scores):
    spread = scores.std(axis=0, dtype=np.float64).mean()
    for share, words in ((0.2503, None), (0.2508, "off by 0.251 of .* at most 0.250 is allowed")):
        problem = compare("x", scores, (scores + share * spread).astype(np.float32), THRESHOLDS).problem("int8")
        assert problem is None if words is None else re.search(words, problem)


def test_scores_without_spread(scores):
    same = np.ones_like(scores)
    assert compare("x", same, same, THRESHOLDS).problem("int8") is None
    assert "off by inf" in compare("x", same, same + 1, THRESHOLDS).problem("int8")


def test_scores_must_be_finite(scores):
    other = scores.copy()
    other[0, 0] = np.nan
    for precision in ("fp32", "int8"):
        assert "finite" in compare("x", scores, other, THRESHOLDS).problem(precision)


def test_synthetic_crops_are_the_same_every_time():
    first = synthetic_crops(3, (32, 16))
    assert first.shape == (3, 32, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, synthetic_crops(3, (32, 16)))
    assert not np.array_equal(first[0], first[1])


def scorers(precision):
    """A checkpoint and an export whose scores of synthetic crops, a batch of their number, are far off."""

    def scores(batch):
        values = [batch.mean(axis=(1, 2, 3)), batch[:, 0, 0, 0].astype(float)]
        return np.stack(values, axis=1).astype(np.float32)

    def wrong(batch):
        return scores(batch) + (1000 if len(batch) == SYNTHETIC else 0)

    checkpoint = SimpleNamespace(
        score_fn=lambda _: scores, threshold=lambda _: (0.0, "val"), image_size=(32, 16), attributes=()
    )
    card = SimpleNamespace(precision=precision)
    return checkpoint, SimpleNamespace(score_fn=lambda _: wrong, card=card)


def test_real_crops_decide_for_int8_only(tmp_path):
    texts = [Text("hat", "head", "accessory", ""), Text("boots", "foot", "footwear", "")]
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    crops = file_crops(sorted(tmp_path.iterdir()), 0)
    synthetic, real = check_parity(*scorers("int8"), texts, crops)
    assert synthetic.problem("int8") is not None
    assert (real.images, real.largest, real.problem("int8")) == (3, 0.0, None)
    with pytest.raises(CheckFailed, match=r"(?s)5 synthetic crops.*--images NAME or FOLDER"):
        check_parity(*scorers("int8"), texts, None)
    with pytest.raises(CheckFailed, match="5 synthetic crops"):
        check_parity(*scorers("fp32"), texts, crops)
