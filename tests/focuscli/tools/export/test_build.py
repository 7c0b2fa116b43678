"""Which crops decide whether an export passes for its checkpoint."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from focuscli.data.texts import Text
from focuscli.errors import CheckFailed
from focuscli.tools.export.build import DRAWN, check_parity, crops_in

TEXTS = [Text("hat", "head", "accessory", ""), Text("boots", "foot", "footwear", "")]


def scored(batch):
    """One score per text that differs from crop to crop."""
    return np.stack([batch.mean(axis=(1, 2, 3)), batch[:, 0, 0, 0].astype(float)], axis=1).astype(np.float32)


def scorers(precision, wrong_on_drawn):
    """A checkpoint and its export, whose scores of drawn crops, a batch of their number, are far off if asked to be."""

    def theirs(batch):
        return scored(batch) + (1000 if wrong_on_drawn and len(batch) == DRAWN else 0)

    original = SimpleNamespace(
        against=lambda _: scored, threshold=lambda _: (0.0, "val"), image_size=(32, 16), attributes=()
    )
    return original, SimpleNamespace(against=lambda _: theirs, card=SimpleNamespace(precision=precision))


@pytest.fixture
def crops(tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return crops_in(sorted(tmp_path.iterdir()), 0)


def test_of_int8_real_crops_decide_and_drawn_ones_inform(crops):
    drawn, real = check_parity(*scorers("int8", wrong_on_drawn=True), TEXTS, crops)
    assert drawn.problem("int8") is not None
    assert (real.images, real.problem("int8")) == (3, None)


def test_drawn_crops_decide_where_there_are_no_others_and_in_fp32(crops):
    with pytest.raises(CheckFailed, match="5 drawn crops") as caught:
        check_parity(*scorers("int8", wrong_on_drawn=True), TEXTS, None)
    assert "--images NAME or FOLDER" in str(caught.value)
    with pytest.raises(CheckFailed, match="5 drawn crops"):
        check_parity(*scorers("fp32", wrong_on_drawn=True), TEXTS, crops)
    assert len(check_parity(*scorers("fp32", wrong_on_drawn=False), TEXTS, crops)) == 2
