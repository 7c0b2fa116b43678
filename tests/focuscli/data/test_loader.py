"""Crops from files: who resizes, how they are put together, and that order and cache change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from focuscli.data.images import load_image
from focuscli.data.loader import crop_source, resize_crop

SIZE = (24, 16)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    found = []
    for number in range(9):
        height, width = int(rng.integers(10, 60)), int(rng.integers(6, 30))
        smooth = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).resize((width, height))
        found.append(folder / f"{number}.png")
        smooth.save(found[-1])
    return found


def test_pillow_resizes_as_pillow_does_and_torch_to_within_a_few_grey_levels(paths):
    for path in paths:
        image = Image.open(path)
        wanted = np.array(image.resize((16, 24), Image.Resampling.BICUBIC))
        assert np.array_equal(resize_crop(load_image(path), SIZE).numpy(), wanted)
        other = resize_crop(image, SIZE, "torch")
        assert (other.dtype, other.shape) == (torch.uint8, (24, 16, 3))
        difference = (torch.from_numpy(wanted).int() - other.int()).abs()
        assert difference.max() <= 3
        assert difference.float().mean() < 0.2


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_batches_hold_the_crops_that_were_asked_for(paths, resize, in_memory):
    source = crop_source(paths, SIZE, workers=2, in_memory=in_memory, progress=None, resize=resize)
    wanted = [[3, 1], [8], [0, 2, 4, 6, 5, 7]]
    for positions, crops in zip(wanted, source(wanted), strict=True):
        expected = [resize_crop(load_image(paths[index]), SIZE, resize) for index in positions]
        assert torch.equal(crops, torch.stack(expected))
