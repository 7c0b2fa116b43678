"""What a reader of timings must know of the machine."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime
from pathlib import Path

from focuscli.storage import machine
from focuscli.tools.bench.results import Machine

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "svebf16")
PACKAGES = (
    "torch", "timm", "torchvision", "open_clip_torch", "clip-anytorch", "transformers", "onnxruntime", "numpy", "pillow"
)  # fmt: skip


def cpu_model() -> str:
    """The CPU's own name, or what the platform says where there is none; and whether it has AMX, which virtual machines
    leave out of the name, and which makes bf16 and int8 several times as fast."""
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    name = " ".join(match[1].split()) if match else (platform.processor() or platform.machine() or "unknown CPU")
    return f"{name} with AMX" if "amx_tile" in cpu_flags() else name


def cpu_flags() -> frozenset[str]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return frozenset(match[1].split() if match else ())


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself; where it does not, torch imitates it many times slower than fp32."""
    return not cpu_flags().isdisjoint(BF16_FLAGS)


def cores() -> float:
    """Cores that this process may use, or the share of them that a container grants."""
    quota = machine.cpu_quota()
    return float(machine.usable_cores()) if quota is None else min(quota, float(machine.usable_cores()))


def memory_gib() -> float:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return 0.0


def describe(device: str, threads: int, *, load_before: float, now: datetime) -> Machine:
    """This machine, after the measurements."""
    name = platform.machine()
    if device.startswith("cuda"):
        import torch

        name = torch.cuda.get_device_name(device)
    versions = {package: machine.installed_version(package) for package in PACKAGES}
    return Machine(
        cpu=cpu_model(),
        cores=cores(),
        threads=threads,
        device=device,
        device_name=name,
        memory_gib=memory_gib(),
        python=platform.python_version(),
        packages={package: version for package, version in versions.items() if version},
        load_before=round(load_before, 2),
        load_after=round(machine.load(), 2),
        date=now.isoformat(timespec="seconds"),
    )


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
