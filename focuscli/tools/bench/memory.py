"""Peak memory of a training step, each in its own process: `python -m focuscli.tools.bench.memory JSON` prints JSON."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from focuscli.errors import RequirementError

STATUS, CLEAR, STATM = (Path("/proc/self") / name for name in ("status", "clear_refs", "statm"))
MIB = 2**20
# glibc's allocator keeps freed blocks of up to 32 MB for later; with this it gives all larger than 128 KiB back at once, so
# that what a process has in use is what its tensors take.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
KINDS = ("visual", "full", "full checkpointed")


@dataclass(frozen=True)
class Task:
    """What a process is to run."""

    kind: str
    model: str
    batch: int
    device: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Usage:
    """MiB: the most that a whole optimiser step had in use (on a CPU: of the process, so with Python and the libraries), and
    the most that forward and backward added to weights and gradients (activations)."""

    peak: float
    activations: float


def measure_in_process(task: Task) -> Usage:
    """Run a task in a fresh process.

    Raises:
        RequirementError: it did not get through, for one because memory was short.
    """
    command = [sys.executable, "-m", "focuscli.tools.bench.memory", json.dumps(asdict(task))]
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(task.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it was killed: most likely memory was short"])[-1]
        raise RequirementError(
            f"The process that measures memory ended with {done.returncode}: {why}", "Try a smaller --batch."
        )
    return Usage(**json.loads(done.stdout))


def run_task(task: Task) -> Usage:
    """Two optimiser steps for the peak, then forward and backward alone for the activations."""
    import torch

    from focuscli.tools.bench.steps import Full, VisualOnly, build_batch, build_full, build_visual, stepper

    torch.set_num_threads(task.threads)
    device = torch.device(task.device)
    module: Full | VisualOnly = (
        build_visual(task.model, device)
        if task.kind == "visual"
        else build_full(task.model, device, checkpointing=task.kind != "full")
    )
    batch = build_batch(task.model, task.batch, device)
    meter: Meter = GpuMeter(task.device) if device.type == "cuda" else Meter()
    # Before the first measurement: what torch imports and allocates once, and the gradients; what is added are activations.
    module.loss(batch.first(2), task.precision).backward()
    meter.restart()
    before = meter.now()
    module.loss(batch, task.precision).backward()
    activations = meter.peak() - before
    step = stepper(module, batch, task.precision)
    meter.restart()
    for _ in range(2):
        step()
    return Usage(peak=round(meter.peak(), 1), activations=round(activations, 1))


class Meter:
    """Memory of this process in MiB."""

    def restart(self) -> None:
        """Forget earlier peaks, where the system can."""
        with contextlib.suppress(OSError):
            CLEAR.write_text("5")

    def now(self) -> float:
        try:
            return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
        except OSError:
            return self.peak()

    def peak(self) -> float:
        try:
            match = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
        except OSError:
            match = None
        if match:
            return int(match[1]) / 1024
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / MIB if sys.platform == "darwin" else used / 1024


class GpuMeter(Meter):
    """What torch has handed out on a GPU."""

    def __init__(self, device: str) -> None:
        self.device = device

    def restart(self) -> None:
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)

    def now(self) -> float:
        import torch

        return torch.cuda.memory_allocated(self.device) / MIB

    def peak(self) -> float:
        import torch

        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device) / MIB


if __name__ == "__main__":
    print(json.dumps(asdict(run_task(Task(**json.loads(sys.argv[1]))))))
