"""`focus bench`: how fast a model runs on this machine."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from focuscli.config import RunConfig, build_config, stacked
from focuscli.data.images import Pixels, load_image, squash
from focuscli.data.loader import normalise
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import STYLES, draw
from focuscli.data.synthetic.people import sample_person
from focuscli.engine.device import autocast
from focuscli.engine.optim import build_optimizer
from focuscli.engine.scoring import Progress, model_score_fn
from focuscli.engine.training_data import criterion_constants
from focuscli.models.base import Method
from focuscli.models.build import new_method

Step = Callable[[], float]
"""Take a training step and return its loss."""
DECODED = 32  # crops that are decoded, each once a round
POSITIVE_RATE = 0.2


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        task: "predict": uint8 pixels to scores; "decode": image files to pixels, in one thread; "train": a step of the
            optimiser, forward and backward pass included.
        seconds: of a batch, median over the rounds.
        peak_memory_mib: of a training step: on a GPU of its tensors, elsewhere of the process.
    """

    task: str
    precision: str
    batch_size: int
    seconds: float
    images_per_second: float
    peak_memory_mib: float | None = None


def random_model(preset: str) -> tuple[Method, RunConfig]:
    """FOCUS with random weights for the 51 evaluated attributes of RAPv1; UsageError where there is no such preset."""
    config = build_config(stacked([("--model", {"model": {"preset": preset}})]))[0]
    return new_method(config, builtin_schema("rapv1").texts(complements=False), None)[0], config


def benchmark(
    model: Method,
    config: RunConfig,
    device: torch.device,
    *,
    precisions: Sequence[str],
    batch_sizes: Sequence[int],
    rounds: int,
    train: bool,
    progress: Progress,
) -> list[Row]:
    """Time prediction in every precision ("fp32", "bf16") and batch size, decoding, and a training step of the largest batch.

    Args:
        rounds: timed calls of each, after one that is not timed.
        train: whether to time the training step, which takes several times the memory of the others.
    """
    size, largest = config.model.image_size, max(batch_sizes)
    calls: list[tuple[str, str, int, Callable[[], object]]] = []
    model = model.to(device).eval()
    for precision in precisions:
        with torch.inference_mode(), autocast(device, precision):
            score_fn = model_score_fn(model, model.encode_texts(), precision)
        for batch_size in batch_sizes:
            calls.append(("predict", precision, batch_size, partial(score_fn, random_pixels(batch_size, size))))
    with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
        files = write_crops(Path(folder), DECODED)
        calls.append(("decode", "", DECODED, lambda: [squash(load_image(file), size) for file in files]))
        for precision in precisions if train else ():
            calls.append(("train", precision, largest, step_fn(model, config, largest, precision)))
        rows = []
        for number, (task, precision, batch_size, call) in enumerate(calls, start=1):
            model.train(task == "train")
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            call()
            seconds = statistics.median(timeit.repeat(call, number=1, repeat=rounds))
            memory = _peak_memory_mib(device) if task == "train" else None
            rows.append(Row(task, precision, batch_size, seconds, batch_size / seconds, memory))
            progress(number, len(calls))
    return rows


def step_fn(model: Method, config: RunConfig, batch_size: int, precision: str) -> Step:
    """A training step of `focus train` as a function that returns its loss: random images, all losses, AdamW."""
    device = next(model.parameters()).device
    model.requires_grad_(True)
    model.freeze(text_tower=True)
    optimizer = build_optimizer(model, config.train)
    texts = model.texts
    constants = criterion_constants(texts, config.data, torch.full((len(texts),), POSITIVE_RATE))
    criterion = model.criterion(config.effective_loss, **constants).to(device)
    images = normalise(torch.from_numpy(random_pixels(batch_size, config.model.image_size)), device)
    targets = (torch.rand(batch_size, len(texts), device=device) < POSITIVE_RATE).float()
    known = torch.ones_like(targets, dtype=torch.bool)

    def step() -> float:
        with autocast(device, precision):
            output = model(images)
        loss = criterion(output, targets, known, 0.0)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())  # waits for the device

    return step


def random_pixels(count: int, size: tuple[int, int]) -> Pixels:
    """uint8 [count, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def write_crops(folder: Path, count: int) -> list[Path]:
    """JPEG files of synthetic pedestrians."""
    rng = np.random.default_rng(0)
    files = [folder / f"{number}.jpg" for number in range(count)]
    for file in files:
        draw(sample_person(rng), STYLES["street"], rng=rng)[0].save(file, quality=80)
    return files


def _peak_memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
