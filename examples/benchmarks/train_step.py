"""A training step of FOCUS against one that only fine-tunes the image tower: time and memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import Results, check, parser

from focuscli.engine.device import autocast
from focuscli.engine.optim import build_optimizer
from focuscli.engine.training_data import criterion_constants
from focuscli.models.losses import grouped_many_to_many_loss
from focuscli.tools.bench import MIB, Step, random_model, step_fn

VISUAL, FULL, CHECKPOINTED = "visual-only step", "full step", "full step, gradient checkpointing"
# glibc keeps freed blocks of up to 32 MB; with this it returns all above 128 KiB, so that memory in use is that of tensors.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def visual_step(options: argparse.Namespace) -> Step:
    """Fine-tuning of the image tower alone: class token against fixed text features; nothing else is in memory."""
    model, config = random_model(options.model)
    with torch.no_grad():
        text_features = F.normalize(model.encode_texts(), dim=-1).to(options.device)
    constants = criterion_constants(model.texts, config.data, torch.zeros(len(model.texts)))
    groups, scale = constants["groups"].to(options.device), float(model.clip.logit_scale.detach().exp())
    tower = model.clip.visual.to(options.device).train()
    optimizer = build_optimizer(tower, config.train)
    images = torch.randn(options.batch, 3, *config.model.image_size, device=options.device)
    targets = (torch.rand(options.batch, len(text_features), device=options.device) < 0.2).float()

    def step() -> float:
        with autocast(images.device, options.precision):
            scores = scale * F.normalize(tower(images), dim=-1) @ text_features.mT
        loss = sum(grouped_many_to_many_loss(scores, targets, groups), start=torch.zeros((), device=options.device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def full_step(options: argparse.Namespace, batch: int, kind: str = FULL, dtype: torch.dtype | None = None) -> Step:
    """FOCUS with all losses, as `focus train` takes it."""
    model, config = random_model(options.model)
    torch.manual_seed(0)  # for the labels
    model.to(options.device, dtype).train()
    model.checkpoint_gradients(kind == CHECKPOINTED)
    return step_fn(model, config, batch, options.precision)


def status_mib(name: str) -> float:
    """A number of /proc/self/status: VmRSS, memory in use, or VmHWM, its peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measure_memory(options: argparse.Namespace) -> dict[str, float]:
    """MiB: the most that a step uses (on a CPU: of the process), and how much of it the step adds: mostly activations."""
    step = visual_step(options) if options.memory == VISUAL else full_step(options, options.batch, options.memory)
    step()  # makes the optimiser's state
    if options.device == "cpu":
        before = status_mib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        step()
        peak = status_mib("VmHWM")
    else:
        before = torch.cuda.memory_allocated(options.device) / MIB
        torch.cuda.reset_peak_memory_stats(options.device)
        step()
        peak = torch.cuda.max_memory_allocated(options.device) / MIB
    return {"peak memory": peak, "activation memory": peak - before}


def main() -> int:
    known = parser(str(__doc__), batch=32, rounds=5)
    known.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    known.add_argument("--memory", help=argparse.SUPPRESS)  # a process of its own: none gives all memory back
    options = known.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(measure_memory(options)))
        return 0
    results = Results("train", options)
    note = f"batch {options.batch}, {options.precision}"
    wanted, found = full_step(options, 2, dtype=torch.float64)(), full_step(options, 2)()
    bound = 1e-4 if options.precision == "fp32" else 5e-2
    checks = {FULL: check("loss of 2 images against float64, relative", abs(found - wanted) / abs(wanted), bound)}
    calls = {VISUAL: visual_step(options), FULL: full_step(options, options.batch)}
    results.time(calls, "s/step", 1.0, compare={FULL: [VISUAL]}, checks=checks, note=note)
    usage: dict[str, list[float]] = {}
    for kind in (VISUAL, FULL, CHECKPOINTED):
        line = [sys.executable, *sys.argv, "--batch", str(options.batch), "--memory", kind]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, env={**os.environ, **ALLOCATOR}, check=True)
        usage |= {f"{name}, {kind}": [value] for name, value in json.loads(done.stdout).items()}
    to = {"peak memory": VISUAL, "activation memory": FULL}
    compare = {name: [f"{label}, {to[label]}"] for name in usage for label in to if name.startswith(label)}
    results.add(usage, "MiB", compare=compare, note=note)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
