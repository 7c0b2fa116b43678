"""How an export is compared with its checkpoint."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from focuscli.errors import CheckFailed
from focuscli.tools.export.build import FP32_TOLERANCE, SYNTHETIC, Crops, check_parity, compare, problem

THRESHOLDS = np.array([0.0, 1.0, np.nan])
SCORES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
SPREAD = SCORES.std(axis=0, dtype=np.float64).mean()
ONES, ONE = np.ones_like(SCORES), np.eye(20, 3, dtype=np.float32)


def test_metrics_equal_a_slow_loop():
    other = (SCORES + np.random.default_rng(1).normal(scale=0.3, size=SCORES.shape)).astype(np.float32)
    found = compare("x", SCORES, other, THRESHOLDS)
    differences = [abs(float(SCORES[n, z]) - float(other[n, z])) for n in range(20) for z in range(3)]
    changed = sum((SCORES[n, z] > THRESHOLDS[z]) != (other[n, z] > THRESHOLDS[z]) for n in range(20) for z in (0, 1))
    assert changed > 0
    assert found == {
        **{"source": "x", "images": 20, "texts": 3, "decisions": 40, "changed": changed, "mA": None},
        "largest": pytest.approx(max(differences)),
        "mean": pytest.approx(sum(differences) / 60),
        "rms": pytest.approx((sum(d * d for d in differences) / 60) ** 0.5),
        "scale": max(abs(float(value)) for value in SCORES.flat),
        "spread": pytest.approx(np.mean([np.std(SCORES[:, z].astype(float)) for z in range(3)])),
    }


@pytest.mark.parametrize(
    ("precision", "ours", "difference", "words"),
    [
        ("fp32", SCORES, 0.9 * FP32_TOLERANCE * np.abs(SCORES).max() * ONE, None),  # the largest difference counts
        ("fp32", SCORES, 1.1 * FP32_TOLERANCE * np.abs(SCORES).max() * ONE, "differ by up to"),
        ("int8", SCORES, 0.2503 * SPREAD, None),  # the root mean square counts
        ("int8", SCORES, 0.2508 * SPREAD, "off by 0.251 of their spread; at most 0.250 is allowed"),
        ("fp32", SCORES, 0.2 * SPREAD, "differ by up to"),
        ("int8", ONES, 0, None),  # scores without spread
        ("int8", ONES, 1, "off by inf"),
        ("fp32", SCORES, np.nan * ONE, "not finite"),
        ("int8", SCORES, np.nan * ONE, "not finite"),
    ],
)
def test_differences_that_are_too_large(precision, ours, difference, words):
    parity = compare("x", ours, (ours + difference).astype(np.float32), THRESHOLDS)
    found = problem(parity, int8=precision == "int8")
    assert found is None if words is None else re.search(words, found)


def test_real_crops_decide_for_int8_only(tmp_path):
    def right(batch):
        return batch.mean(axis=(1, 2)).astype(np.float32)

    def wrong_for_synthetic(batch):
        return right(batch) + (1000 if len(batch) == SYNTHETIC else 0)

    def check(precision, crops):
        exported = SimpleNamespace(score_fn=lambda _: wrong_for_synthetic, precision=precision)
        checkpoint = SimpleNamespace(
            score_fn=lambda _: right, threshold=lambda _: (0.0, "val"), image_size=(32, 16), attributes=()
        )
        return check_parity(checkpoint, exported, ["red", "green", "blue"], crops, lambda done, total: None)

    Image.effect_noise((16, 32), 50).save(tmp_path / "1.png")
    crops = Crops("3 given crops", [tmp_path / "1.png"] * 3)
    synthetic, real = check("int8", crops)
    assert problem(synthetic, int8=True) is not None
    assert (real["images"], real["largest"], problem(real, int8=True)) == (3, 0.0, None)
    with pytest.raises(CheckFailed, match=r"(?s)5 synthetic crops.*--images NAME or FOLDER"):
        check("int8", None)
    with pytest.raises(CheckFailed, match="5 synthetic crops"):
        check("fp32", crops)
