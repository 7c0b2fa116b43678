"""The whole training loop with data, in terms of how fast the device multiplies matrices, and how long it waits for data.

Meant for GPUs: nothing of it has run on one yet. On a CPU it runs with --quick, to see that it works.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_impl import CLIPConfig
from focuscli.config import PRESETS, RunConfig, build_config
from focuscli.data.folder import DatasetFolder, write_folder
from focuscli.data.schema import builtin_schema
from focuscli.engine.trainer import StepEvent, Trainer
from focuscli.engine.training_data import prepare_training_data
from focuscli.models.build import new_method
from focuscli.tools.bench import host
from focuscli.tools.bench.crops import draw_crops, write_crops
from focuscli.tools.bench.models import DTYPES, clip_shape
from focuscli.tools.bench.results import Measurement, Ratio, Spread, single
from focuscli.tools.bench.settings import Settings
from focuscli.tools.bench.timing import WALL, Candidate, Progress, interleave

LOOP, CACHED, REPEATED = (
    "training loop, crops from files",
    "training loop, crops from memory",
    "training loop, one batch again and again",
)
MATRIX, SHARE, WAIT = "matrix rate", "training loop, share of the matrix rate", "waiting for data"
STEP_FLOPS = 3
"""Forward, and backward with twice as many: a step in terms of a forward pass."""


def tower_flops(config: CLIPConfig) -> float:
    """Floating-point operations of one forward pass of the image tower, two per multiplication and addition."""
    vision = config.vision
    patches = vision.grid[0] * vision.grid[1]
    tokens, width = patches + 1, vision.width
    embedding = 2 * patches * 3 * vision.patch_size**2 * width
    block = 2 * tokens * 12 * width**2 + 4 * tokens**2 * width
    return float(embedding + vision.layers * block)


def measure_loop(settings: Settings, precision: str, progress: Progress | None = None) -> list[Measurement]:
    """Images per second of `focus train`'s own loop, three ways, and what follows from it."""
    batch = settings.batch_or(128, quick=4)
    steps = (1, 2) if settings.quick else (5, 10)  # before the first round, and of each
    rounds = settings.rounds_or(5)
    rate = matrix_rate(settings, precision, progress)
    needed = (steps[0] + rounds * steps[1] + 2) * batch
    with tempfile.TemporaryDirectory(prefix="focus-bench-") as name:
        dataset = drawn_dataset(Path(name) / "crops", needed)
        found = {
            label: _run(loop_config(settings, precision, batch, cache), dataset, settings, steps, rounds, repeat)
            for label, cache, repeat in ((LOOP, "none", False), (CACHED, "memory", False), (REPEATED, "memory", True))
        }
    note = f"batch {batch}, {precision}, {int(host.cores())} workers"
    measured = [rate]
    for label, (rates, _) in found.items():
        measured.append(single("train", label, "images/s", rates, clock="wall", note=note))
    flops = STEP_FLOPS * tower_flops(clip_shape(settings.model))
    shares = [images * flops / (rate.spread.median * 1e12) for images in found[LOOP][0]]
    ratio = Ratio(to=REPEATED, spread=Spread.of([one / Spread.of(found[REPEATED][0]).median for one in found[LOOP][0]]))
    measured.append(single("train", SHARE, "share", shares, note=f"{flops / 1e9:.1f} GFLOP an image", ratios=(ratio,)))
    measured.append(single("train", WAIT, "share", found[LOOP][1], note="of the time of a step, crops from files"))
    return measured


def matrix_rate(settings: Settings, precision: str, progress: Progress | None = None) -> Measurement:
    """TFLOP/s of one large matrix product in the precision of the loop."""
    side, repeats = (8192, 20) if settings.device.startswith("cuda") else (512, 2)
    device = torch.device(settings.device)
    left, right = (torch.randn(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))

    def multiply() -> None:
        for _ in range(repeats):
            left @ right

    clock = settings.clock
    seconds = interleave([Candidate(MATRIX, multiply)], rounds=settings.rounds_or(7), warmup=2, clock=clock)
    rates = [2 * side**3 * repeats / taken / 1e12 for taken in seconds[MATRIX]]
    return single("train", MATRIX, "TFLOP/s", rates, clock=clock.name, note=f"{side} x {side}, {precision}")


def drawn_dataset(folder: Path, count: int) -> DatasetFolder:
    """A dataset folder of drawn crops with random labels of RAPv1's 51 attributes; what is learnt does not matter."""
    schema = builtin_schema("rapv1")
    schema = schema.model_copy(update={"attributes": schema.evaluated, "image_root": None})
    paths = write_crops(folder.parent / "files", count + 1, draw_crops(32))
    labels = np.random.default_rng(0).random((len(paths), len(schema.attributes))) < 0.2
    return write_folder(
        folder,
        schema.model_copy(update={"image_root": str(paths[0].parent)}),
        [path.name for path in paths],
        ["train"] * count + ["val"],
        [""] * len(paths),
        labels.astype(np.int8),
        overwrite=False,
    )


def loop_config(settings: Settings, precision: str, batch: int, cache: str) -> RunConfig:
    """The preset's configuration, with the batch and the cache to be timed."""
    changes = {
        "data": {"complements": False, "cache": cache, "cache_limit_mb": 2**20, "workers": int(host.cores())},
        "train": {"batch_size": batch, "precision": precision, "epochs": 1, "device": settings.device, "ema": 0.0},
    }
    return build_config([("preset", PRESETS[settings.model]), ("bench", changes)])[0]


def _run(
    config: RunConfig,
    dataset: DatasetFolder,
    settings: Settings,
    steps: tuple[int, int],
    rounds: int,
    repeat: bool,
) -> tuple[list[float], list[float]]:
    """Images per second, and the share of the time spent waiting for crops, of each round of steps."""
    data = prepare_training_data(dataset, config.data, seed=0)
    model, _ = new_method(config, data.texts, None)
    model.freeze(text_tower=True)  # as with CLIP's weights
    trainer = Trainer(model, data, config, torch.device(settings.device))
    waiting = Waiting(trainer.store.batches, repeat=repeat)
    trainer.store.batches = waiting.batches  # type: ignore[method-assign]
    marks: list[tuple[float, float]] = []
    last = steps[0] + rounds * steps[1]  # a few less than the epoch has, so that nothing else happens
    for taken, event in enumerate(trainer.run(), start=1):
        assert isinstance(event, StepEvent)
        if taken >= steps[0] and (taken - steps[0]) % steps[1] == 0:
            settings.clock.wait()
            marks.append((WALL.now(), waiting.seconds))
        if taken == last:
            break
    images = steps[1] * config.train.batch_size
    spans = [(end[0] - start[0], end[1] - start[1]) for start, end in pairwise(marks)]
    return [images / span for span, _ in spans], [waited / span for span, waited in spans]


class Waiting:
    """Batches of crops, with the seconds that the consumer waited for them.

    The loop reads its losses after every step, so the device has nothing left to do but the optimiser's update while the
    loop waits here: these seconds are an upper bound of what the device waits for data.
    """

    def __init__(self, batches: Callable[[Iterable[Sequence[int]]], Iterator[Tensor]], *, repeat: bool) -> None:
        self._batches = batches
        self._repeat = repeat
        self.seconds = 0.0

    def batches(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """As `CropStore.batches`; with `repeat` always the first one."""
        source = self._batches(batches)
        first = None
        while True:
            started = time.perf_counter()
            crops = first if first is not None else next(source, None)
            self.seconds += time.perf_counter() - started
            if crops is None:
                return
            if self._repeat:
                first = crops
            yield crops
