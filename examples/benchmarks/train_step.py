"""A training step of FOCUS against one that only fine-tunes the image tower: time, memory, and what the texts cost."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import torch
import torch.nn.functional as F
from timing import Results, check, parser
from torch import Tensor

from focuscli.engine.compilation import compile_layers
from focuscli.engine.device import autocast
from focuscli.engine.optim import build_optimizer
from focuscli.errors import RequirementError
from focuscli.models.losses import grouped_many_to_many_loss
from focuscli.models.prompts import encode_texts
from focuscli.tools.bench import MIB, Step, group_matrix, peak_memory_mib, random_model, step_fn

VISUAL, FULL, CHECKPOINTED = "visual-only step", "full step", "full step, gradient checkpointing"
TRIMMED, PADDED = "text features trimmed", "text features at length 77"
# glibc keeps freed blocks of up to 32 MB; with this it returns all above 128 KiB, so that memory in use is that of tensors.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def visual_step(options: argparse.Namespace) -> Step:
    """Fine-tuning of the image tower alone: class token against fixed text features; nothing else is in memory."""
    model, config = random_model(options.model)
    with torch.no_grad():
        text_features = F.normalize(model.encode_texts(), dim=-1).to(options.device)
    groups, scale = group_matrix(model.texts).to(options.device), float(model.clip.logit_scale.exp())
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


def full_step(options: argparse.Namespace, *, batch: int, kind: str = FULL, double: bool = False) -> Step:
    model, config = random_model(options.model)
    torch.manual_seed(0)  # for the labels
    model.to(options.device, torch.float64 if double else None).train()
    model.checkpoint_gradients(kind == CHECKPOINTED)
    if kind == "full step, compiled":
        compile_layers(model, torch.device(options.device))
    return step_fn(model, config, batch, options.precision)


def time_texts(options: argparse.Namespace, results: Results) -> None:
    """Features of the 51 descriptions and gradients of the prompts, as long as the texts are and padded to 77 tokens."""
    model, _ = random_model(options.model)
    model.freeze(text_tower=True)
    model.to(options.device)
    ids = model.training_ids
    padded = F.pad(ids, (0, model.clip.context_length - model.prompts.length - ids.shape[1]))
    direction = torch.randn(len(ids), model.clip.config.embed_dim, device=options.device)

    def both(ids: Tensor) -> list[Tensor]:
        model.prompts.context.grad = None
        features = encode_texts(model.clip, model.prompts, model.texts, ids)
        (features * direction).sum().backward()
        return [features.detach(), model.prompts.context.grad]

    pairs = zip(both(ids), both(padded), strict=True)
    difference = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
    checks = {TRIMMED: check("features and gradients against those at length 77, relative", difference, 1e-5)}
    calls = {TRIMMED: lambda: both(ids), PADDED: lambda: both(padded)}
    results.time(calls, "s", 1.0, compare={PADDED: [TRIMMED]}, checks=checks, note="51 texts, forward and backward")


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def measure_memory(options: argparse.Namespace) -> dict[str, float]:
    """MiB: the most that two steps use (on a CPU: of the process), and what a step adds to what was there before it."""
    gpu = options.device.startswith("cuda")
    step = (
        visual_step(options)
        if options.memory == VISUAL
        else full_step(options, batch=options.batch, kind=options.memory)
    )
    before = torch.cuda.memory_allocated(options.device) / MIB if gpu else resident_mib()
    for _ in range(2):
        step()
    peak = peak_memory_mib(torch.device(options.device))
    return {"peak": peak, "step": peak - before}


def main() -> int:
    options = parser(__doc__ or "", batch=32, rounds=5)
    options.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options.add_argument("--memory", help=argparse.SUPPRESS)  # a process of its own: none gives all memory back
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(measure_memory(options)))
        return 0
    results = Results("train", options)
    note = f"batch {options.batch}, {options.precision}"
    wanted, found = full_step(options, batch=2, double=True)(), full_step(options, batch=2)()
    bound = 1e-4 if options.precision == "fp32" else 5e-2
    checks = {FULL: check("loss of 2 images against float64, relative", abs(found - wanted) / abs(wanted), bound)}
    calls = {VISUAL: visual_step(options), FULL: full_step(options, batch=options.batch)}
    if not options.quick:
        try:
            calls["full step, compiled"] = full_step(options, batch=options.batch, kind="full step, compiled")
        except RequirementError as error:
            results.skip("full step, compiled", error.problem)
    compare = {FULL: [VISUAL], "full step, compiled": [FULL]}
    results.time(calls, "s/step", 1.0, compare=compare, checks=checks, note=note)
    time_texts(options, results)
    usage = {}
    for kind in (VISUAL, FULL, CHECKPOINTED):
        line = [sys.executable, *sys.argv, "--memory", kind, "--batch", str(options.batch)]
        done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **ALLOCATOR}, check=False)
        if done.returncode:
            results.skip(f"peak memory, {kind}", (done.stderr.splitlines() or ["killed: too little memory?"])[-1])
        else:
            usage[kind] = json.loads(done.stdout)
    for label, key, to in (("peak memory", "peak", VISUAL), ("activation memory", "step", FULL)):
        values = {f"{label}, {kind}": [used[key]] for kind, used in usage.items()}
        results.add(values, "MiB", compare={name: [f"{label}, {to}"] for name in values}, note=note)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
