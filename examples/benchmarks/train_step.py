"""A training step of FOCUS against one that only fine-tunes the image tower: time and memory."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from timing import Results, check, parser

from focuscli.config import build_config, stacked
from focuscli.models.build import new_method
from focuscli.tools.bench import Step, random_model, step_fn

VISUAL, FULL, CHECKPOINTED = KINDS = "visual-only step", "full step", "full step, gradient checkpointing"
# glibc keeps freed blocks of up to 32 MB; with this it returns all above 128 KiB, so that memory in use is that of tensors.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def visual_step(batch: int) -> Step:
    """Fine-tuning of the image tower alone: class token against fixed text features; the text tower is not in memory."""
    config = build_config(stacked([("benchmark", {"model": {"method": "clip-ft"}})]))[0]
    model = new_method(config, random_model("tiny")[0].texts, None)[0]
    with torch.no_grad():
        text_features = model.encode_texts()
    model.encode_texts = lambda texts=None: text_features  # type: ignore[method-assign]
    del model.clip.transformer, model.clip.token_embedding
    return step_fn(model.train(), config, batch, "fp32")


def full_step(batch: int, kind: str = FULL, dtype: torch.dtype | None = None) -> Step:
    """FOCUS with all losses, as `focus train` takes it."""
    model, config = random_model("vit-b16")
    torch.manual_seed(0)  # for the labels
    model.to(dtype).train()
    model.checkpoint_gradients(kind == CHECKPOINTED)
    return step_fn(model, config, batch, "fp32")


def status_mib(name: str) -> float:
    """A number of /proc/self/status: VmRSS, memory in use, or VmHWM, its peak."""
    return float(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) / 1024


def measure_memory(batch: int, kind: str) -> tuple[float, float]:
    """MiB: the most that a process uses in a step, and how much of it the step adds: mostly activations."""
    step = visual_step(batch) if kind == VISUAL else full_step(batch, kind)
    step()  # makes the optimiser's state
    before = status_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    step()
    peak = status_mib("VmHWM")
    return peak, peak - before


def main() -> int:
    options = parser(str(__doc__), batch=32, rounds=5).parse_args()
    torch.set_num_threads(options.threads)
    results = Results("train", options)
    note = f"batch {options.batch}, fp32"
    wanted, found = full_step(2, dtype=torch.float64)(), full_step(2)()
    checks = {FULL: check("loss of 2 images against float64, relative", abs(found - wanted) / abs(wanted), 1e-4)}
    calls = {VISUAL: visual_step(options.batch), FULL: full_step(options.batch)}
    results.time(calls, "s/step", 1.0, compare={FULL: [VISUAL]}, checks=checks, note=note)
    os.environ.update(ALLOCATOR, OMP_NUM_THREADS=str(options.threads))
    # A process for each: none gives all memory back.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        usage = dict(zip(KINDS, pool.map(partial(measure_memory, options.batch), KINDS), strict=True))
    for number, (name, to) in enumerate({"peak memory": VISUAL, "activation memory": FULL}.items()):
        values = {f"{name}, {kind}": [found[number]] for kind, found in usage.items()}
        results.add(values, "MiB", compare=dict.fromkeys(values, (f"{name}, {to}",)), note=note)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
