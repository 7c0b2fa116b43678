"""Drawn crops have the sizes of PA-100K's."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from focuscli.tools.bench.crops import draw_crops, write_crops


def test_sizes_are_those_of_the_dataset(tmp_path):
    crops = draw_crops(60)
    sizes = np.array([Image.open(io.BytesIO(crop)).size for crop in crops])
    assert 0.75 < sizes[:, 0].mean() / 88 < 1.25
    assert 0.75 < sizes[:, 1].mean() / 231 < 1.25
    assert 2.3 < np.median(sizes[:, 1] / sizes[:, 0]) < 3.0
    assert 3000 < np.mean([len(crop) for crop in crops]) < 6500
    assert draw_crops(2) == crops[:2]
    paths = write_crops(tmp_path / "new", 5, crops[:2])
    assert [path.read_bytes() for path in paths] == [crops[0], crops[1], crops[0], crops[1], crops[0]]
