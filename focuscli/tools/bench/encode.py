"""CLIP's image tower: ours in every precision and at two sizes, against the packages that users would pick instead."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from focuscli.engine.device import autocast
from focuscli.tools.bench import onnx
from focuscli.tools.bench.accuracy import measure_checkpoint
from focuscli.tools.bench.models import (
    DTYPES,
    EXACT_IMAGES,
    UPRIGHT,
    clip_shape,
    feature_check,
    in_double,
    random_clip,
    random_images,
)
from focuscli.tools.bench.results import Check, Measurement, Missing, Outcome, Ratio, Spread, timed
from focuscli.tools.bench.rivals import RIVALS, build_rivals
from focuscli.tools.bench.settings import Settings, precisions
from focuscli.tools.bench.timing import Candidate, Progress, interleave, ratios

OURS = "ours fp32"
FASTEST = "the fastest rival"


@torch.inference_mode()
def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Features of a batch of images, per image."""
    device = torch.device(settings.device)
    config = clip_shape(settings.model)
    batch = settings.batch_or(16, quick=2)
    clip = random_clip(config)
    sizes = (config.vision.image_size, UPRIGHT[settings.model])
    images = {size: random_images(batch, size) for size in sizes}
    exact = {size: in_double(clip.visual)(images[size][:EXACT_IMAGES].double()) for size in sizes}
    images = {size: pixels.to(device) for size, pixels in images.items()}
    own = images[sizes[0]]

    rivals, missing = build_rivals(clip.state_dict(), config, device)
    work: dict[str, tuple[Callable[[], Tensor], str, tuple[int, int]]] = {
        name: (lambda tower=tower: tower(own), "fp32", sizes[0])  # type: ignore[misc]
        for name, tower in rivals.items()
    }
    chosen, without = precisions(settings, wanted=("fp32", "bf16", "fp16") if settings.on_gpu else ("fp32", "bf16"))
    missing += [Missing(work="encode", name=f"ours {name}", reason=reason) for name, reason in without.items()]
    tower = clip.visual.to(device)
    if "fp32" in chosen:
        work[OURS] = (lambda: tower(own), "fp32", sizes[0])
        small = images[sizes[1]]
        work[f"ours fp32 {sizes[1][0]}x{sizes[1][1]}"] = (lambda: tower(small), "fp32", sizes[1])
    for precision in [name for name in chosen if name != "fp32"]:
        cast = _cast(tower, precision)
        work[f"ours {precision} weights"] = (lambda cast=cast: cast(own), precision, sizes[0])  # type: ignore[misc]
        if precision == "bf16":
            work["ours bf16 autocast"] = (lambda: _autocast(tower, own), "bf16", sizes[0])
    if not settings.on_gpu and settings.precision in ("auto", "fp32"):
        sessions, absent = onnx.image_towers(clip.visual, own, settings.threads)
        missing += absent
        work |= {name: (run, precision, sizes[0]) for name, (run, precision) in sessions.items()}

    checks: dict[str, Check] = {
        name: feature_check(run, exact[size], precision, gpu=settings.on_gpu)
        for name, (run, precision, size) in work.items()
    }
    candidates = [Candidate(name, run) for name, (run, _, _) in work.items()]
    clock = settings.clock
    seconds = interleave(candidates, rounds=settings.rounds_or(7), warmup=1, clock=clock, progress=progress)
    own_size = [name for name, (_, _, size) in work.items() if size == sizes[0]]
    compared = {name: (OURS, *rivals) if name in own_size and name not in rivals else (OURS,) for name in work}
    measured = timed(
        "encode",
        seconds,
        unit="ms/image",
        scale=1000 / batch,
        clock=clock.name,
        checks=checks,
        compare=compared,
        notes=dict.fromkeys(work, f"batch {batch}"),
    )
    measured = with_fastest_rival(measured, own_size)
    if settings.checkpoint is not None:
        accuracy = measure_checkpoint(settings)
        measured += accuracy.measurements
        missing += accuracy.missing
    return Outcome(measurements=tuple(measured), missing=tuple(missing))


def with_fastest_rival(measured: list[Measurement], comparable: Collection[str]) -> list[Measurement]:
    """What is ours and `comparable` also in terms of the rival with the lowest median. It is one rival for all rounds: the
    least of several noisy times in each round would be nobody's."""
    rivals = [item for item in measured if item.name in {rival.name for rival in RIVALS}]
    if not rivals:
        return measured
    fastest = min(rivals, key=lambda item: item.spread.median)
    found = []
    for item in measured:
        if item in rivals or item.name not in comparable:
            found.append(item)
            continue
        spread = Spread.of(ratios(item.spread.values, fastest.spread.values))
        note = f"{item.note}; the fastest rival was {fastest.name}"
        found.append(item.model_copy(update={"ratios": (*item.ratios, Ratio(to=FASTEST, spread=spread)), "note": note}))
    return found


def _cast(tower: nn.Module, precision: str) -> Callable[[Tensor], Tensor]:
    cast: Callable[[Tensor], Tensor] = copy.deepcopy(tower).to(DTYPES[precision])
    return cast


def _autocast(tower: nn.Module, images: Tensor) -> Tensor:
    with autocast(images.device, "bf16"):
        features: Tensor = tower(images)
    return features
