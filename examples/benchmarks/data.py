"""The data pipeline on one core: decoding and resizing as the loader's workers do it, and augmentation as in training."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from timing import Results, check, parser
from torch import Tensor

from clip_impl.preprocess import Preprocess
from focuscli.config import AugmentConfig
from focuscli.data.augment import augment
from focuscli.data.images import load_image
from focuscli.data.loader import Resize, resize_crop, stack_crops
from focuscli.tools.bench import write_crops

STILL = AugmentConfig(margin=0, flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0, erase=0.0)
# Of normalised pixels, where a grey level is 0.015. torch rounds its weights to 16 bits: a level at some pixels, several at few.
BOUNDS: dict[Resize, float] = {"pillow": 1e-5, "torch": 0.25}


def measure(results: Results, paths: Sequence[Path], size: tuple[int, int]) -> None:
    """Each stage and everything together, at one input size."""
    config, generator = AugmentConfig(), torch.Generator().manual_seed(0)
    end, larger = f", {size[0]}x{size[1]}", (size[0] + config.margin, size[1] + config.margin)

    def read(size: tuple[int, int], resize: Resize) -> Tensor:
        return stack_crops([resize_crop(load_image(path), size, resize) for path in paths])

    ready = read(larger, "pillow")
    reference = torch.stack([Preprocess(size)(load_image(path)) for path in paths])
    calls: dict[str, Callable[[], object]] = {
        f"decode{end}": lambda: [load_image(path) for path in paths],
        f"augment{end}": lambda: augment(ready, size, config, generator),
    }
    checks = {}
    for resize, bound in BOUNDS.items():
        worker, everything = f"decode and resize ({resize}){end}", f"decode, resize ({resize}) and augment{end}"
        calls[worker] = partial(read, larger, resize)
        calls[everything] = lambda resize=resize: augment(read(larger, resize), size, config, generator)  # type: ignore[misc]
        difference = (augment(read(size, resize), size, STILL, generator) - reference).abs().max()
        checks[worker] = checks[everything] = check("pixels against clip_impl's", float(difference), bound)
    results.time(calls, "images/s", -len(paths), checks=checks, note=f"{len(paths)} crops")


def main() -> int:
    results = Results("data", parser(str(__doc__), batch=32, rounds=9).parse_args())
    torch.set_num_threads(results.options.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_crops(Path(folder), results.options.batch)
        for size in ((224, 224), (256, 128), (128, 64)):
            measure(results, paths, size)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
