"""A whole training step against one that only fine-tunes the visual tower: time, memory, and what texts cost."""

from __future__ import annotations

import torch

from focuscli.engine.compilation import compile_layers
from focuscli.errors import RequirementError
from focuscli.tools.bench import loop
from focuscli.tools.bench.memory import Task, measure_in_process
from focuscli.tools.bench.models import EXACT_IMAGES, in_double
from focuscli.tools.bench.results import Check, Measurement, Missing, Outcome, Ratio, Spread, single, timed
from focuscli.tools.bench.settings import Settings, unsupported
from focuscli.tools.bench.steps import Batch, Full, VisualOnly, build_batch, build_full, build_visual, stepper
from focuscli.tools.bench.text import measure_texts
from focuscli.tools.bench.timing import Candidate, Progress, interleave

VISUAL, FULL, CHECKPOINTED = "visual-only step", "full step", "full step, gradient checkpointing"
COMPILED = "full step, compiled"
PEAK, ACTIVATIONS = "peak memory", "activation memory"
# The losses are sums of logarithms of probabilities; relative differences.
LOSS_BOUNDS = {"fp32": 1e-4, "bf16": 5e-2}


def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Time, memory and texts; on a GPU also the whole loop with data."""
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if settings.on_gpu else "fp32"
    if precision == "fp16":
        raise RequirementError("Training in fp16 is not offered.", "Use --precision bf16 or fp32.")
    missing = []
    if settings.precision == "auto" and (reason := unsupported("bf16", settings.device)):
        missing.append(Missing(work="train", name=f"{FULL} bf16", reason=reason))
    measured, without = _time(settings, precision, progress)
    missing += without
    measured += measure_texts(settings, progress)
    measured += _memory(settings, precision)
    if settings.device.startswith("cuda") or settings.quick:
        measured += loop.measure_loop(settings, precision, progress)
    else:
        missing.append(Missing(work="train", name=loop.LOOP, reason="the whole loop is measured on a GPU"))
    return Outcome(measurements=tuple(measured), missing=tuple(missing))


def _time(settings: Settings, precision: str, progress: Progress | None) -> tuple[list[Measurement], list[Missing]]:
    device = torch.device(settings.device)
    batch = build_batch(settings.model, settings.batch_or(32, quick=4), device)
    modules: dict[str, Full | VisualOnly] = {
        VISUAL: build_visual(settings.model, device),
        FULL: build_full(settings.model, device),
    }
    missing = []
    if not settings.quick:  # compiling takes half a minute
        try:
            compiled = build_full(settings.model, device)
            compile_layers(compiled.model, device)
            modules[COMPILED] = compiled
        except RequirementError as error:
            missing.append(Missing(work="train", name=COMPILED, reason=error.problem))
    candidates = [Candidate(name, stepper(module, batch, precision)) for name, module in modules.items()]
    clock = settings.clock
    seconds = interleave(candidates, rounds=settings.rounds_or(5), clock=clock, progress=progress)
    # Afterwards: what is compiled for two sizes of a batch is slower than for one.
    checks = {name: _loss_check(module, batch.first(EXACT_IMAGES), precision) for name, module in modules.items()}
    measured = timed(
        "train",
        seconds,
        unit="s/step",
        scale=1.0,
        clock=clock.name,
        checks=checks,
        compare={FULL: [VISUAL], COMPILED: [FULL]},
        notes=dict.fromkeys(modules, f"batch {len(batch.images)}, {precision}"),
    )
    return measured, missing


@torch.no_grad()
def _loss_check(module: Full | VisualOnly, batch: Batch, precision: str) -> Check:
    """The loss of a few images against float64."""
    images = Batch(batch.images.cpu().double(), batch.targets.cpu())
    exact = in_double(module)
    wanted = float(exact.loss(images, "fp32"))
    found = float(module.loss(batch, precision))
    return Check(
        what=f"loss of {len(batch.images)} images against float64, relative",
        difference=abs(found - wanted) / abs(wanted),
        bound=LOSS_BOUNDS[precision],
    )


def _memory(settings: Settings, precision: str) -> list[Measurement]:
    """Each in a process of its own, because a process never gives everything back."""
    batch = settings.batch_or(32, quick=4)
    found = {
        name: measure_in_process(Task(kind, settings.model, batch, settings.device, precision, settings.threads))
        for name, kind in ((VISUAL, "visual"), (FULL, "full"), (CHECKPOINTED, "full checkpointed"))
    }
    note = f"batch {batch}, {precision}"

    def figure(label: str, name: str, value: float, to: str, other: float) -> Measurement:
        ratio = Ratio(to=f"{label}, {to}", spread=Spread.of([value / max(other, 1e-9)]))
        return single("train", f"{label}, {name}", "MiB", [value], ratios=(ratio,) if name != to else (), note=note)

    peaks = [figure(PEAK, name, usage.peak, VISUAL, found[VISUAL].peak) for name, usage in found.items()]
    activations = [
        figure(ACTIVATIONS, name, found[name].activations, FULL, found[FULL].activations)
        for name in (FULL, CHECKPOINTED)
    ]
    return [*peaks, *activations]
