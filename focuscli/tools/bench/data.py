"""The data pipeline on one core: decoding and resizing as the workers do it, and augmentation as the training loop does."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_impl.preprocess import MEAN, STD, Preprocess
from focuscli.config import AugmentConfig
from focuscli.data.augment import augment
from focuscli.data.images import load_image
from focuscli.data.loader import Resize, read_crop, stack_crops
from focuscli.storage.machine import one_line
from focuscli.tools.bench.crops import draw_crops, write_crops
from focuscli.tools.bench.results import Check, Measurement, Missing, Outcome, timed
from focuscli.tools.bench.settings import Settings
from focuscli.tools.bench.timing import Candidate, Progress, interleave

SIZES = ((224, 224), (256, 128), (128, 64))
RIVAL = "torchvision, image by image"
STILL = AugmentConfig(margin=0, flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0, erase=0.0)
# Of normalised pixels, where one grey level is 0.0146 to 0.0150. Torch rounds its weights to 16 bit and may be off by a level
# at some pixels, by several at a few in a million.
BOUNDS: dict[Resize, float] = {"pillow": 1e-5, "torch": 0.25}


def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Images per second of each stage and of all, at three input sizes."""
    count = settings.batch_or(32, quick=4)
    measured: list[Measurement] = []
    missing: list[Missing] = []
    with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
        paths = write_crops(Path(folder), count, draw_crops(min(count, 64)))
        for size in SIZES[-1:] if settings.quick else SIZES:
            found, reason = _at_size(paths, size, settings, progress)
            measured += found
            if reason:
                missing.append(Missing(work="data", name=label(RIVAL, size), reason=reason))
    return Outcome(measurements=tuple(measured), missing=tuple(missing))


def label(stage: str, size: tuple[int, int]) -> str:
    return f"{stage}, {size[0]}x{size[1]}"


def stages(resize: Resize) -> tuple[str, str]:
    """Names of the workers' part and of everything, for one way of resizing."""
    return f"decode and resize ({resize})", f"decode, resize ({resize}) and augment"


def _at_size(
    paths: Sequence[Path], size: tuple[int, int], settings: Settings, progress: Progress | None
) -> tuple[list[Measurement], str]:
    config = AugmentConfig()
    larger = (size[0] + config.margin, size[1] + config.margin)
    generator = torch.Generator().manual_seed(0)
    ready = stack_crops([read_crop(path, larger) for path in paths])
    work: dict[str, Callable[[], Any]] = {"decode": lambda: [load_image(path) for path in paths]}
    checks: dict[str, Check] = {}
    compare: dict[str, list[str]] = {}
    reference = torch.stack([Preprocess(size)(load_image(path)) for path in paths])
    for resize in BOUNDS:
        worker, everything = stages(resize)
        work[worker] = lambda resize=resize: read(paths, larger, resize)  # type: ignore[misc]
        work[everything] = lambda resize=resize: augment(  # type: ignore[misc]
            read(paths, larger, resize), size, config, generator
        )
        still = augment(read(paths, size, resize), size, STILL, generator)
        checks[worker] = checks[everything] = Check(
            what="normalised pixels, nothing augmented, against clip_impl's preprocessing",
            difference=float((still - reference).abs().max()),
            bound=BOUNDS[resize],
        )
        compare[worker], compare[everything] = [label(stages("pillow")[0], size)], [label(RIVAL, size)]
    work["augment"] = lambda: augment(ready, size, config, generator)
    reason = ""
    try:
        transform = image_by_image(size, config)
        work[RIVAL] = lambda: torch.stack([transform(load_image(path)) for path in paths])
    except Exception as error:  # a torchvision that does not fit torch: the rest is still measured
        reason = f"torchvision does not load: {one_line(error)}"
    clock = settings.clock if settings.device == "cpu" else Settings(threads=settings.threads).clock
    seconds = interleave(
        [Candidate(label(name, size), run) for name, run in work.items()],
        rounds=settings.rounds_or(9),
        clock=clock,
        progress=progress,
    )
    return timed(
        "data",
        seconds,
        unit="images/s",
        scale=-len(paths),
        clock=clock.name,
        checks={label(name, size): check for name, check in checks.items()},
        compare={label(name, size): others for name, others in compare.items()},
        notes={label(name, size): f"one core, {len(paths)} crops of 88 x 231 on average" for name in work},
    ), reason


def read(paths: Sequence[Path], size: tuple[int, int], resize: Resize) -> Tensor:
    """What the workers do, without threads: uint8 [B, H, W, 3]."""
    return stack_crops([read_crop(path, size, resize) for path in paths])


def image_by_image(size: tuple[int, int], config: AugmentConfig) -> Callable[[Any], Tensor]:
    """The usual pipeline: the same augmentation by torchvision's first transforms, in the worker, on each image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision import transforms

    larger = [side + config.margin for side in size]
    transform: Callable[[Any], Tensor] = transforms.Compose(
        [
            transforms.Resize(larger, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomCrop(size),
            transforms.RandomHorizontalFlip(config.flip),
            transforms.ColorJitter(config.brightness, config.contrast, config.saturation),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            transforms.RandomErasing(config.erase, config.erase_area, config.erase_ratio),
        ]
    )
    return transform
