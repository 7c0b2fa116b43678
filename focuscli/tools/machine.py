"""This machine and its Python packages: versions, builds, cores, container limits. Imports nothing heavy."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from focuscli.errors import one_line

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "svebf16")


def try_import(name: str) -> tuple[Any, str]:
    """The module and '', or None and why it cannot be imported (a mismatched binary raises almost anything)."""
    try:
        return importlib.import_module(name), ""
    except Exception as error:
        return None, one_line(error)


def installed_version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements(package: str) -> dict[str, SpecifierSet]:
    """The versions that an installed package requires of others, by their names; extras are not asked for.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    declared = [Requirement(line) for line in importlib.metadata.requires(package) or []]
    return {
        each.name: each.specifier for each in declared if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is installed, also if torch cannot use it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def cpu_quota() -> float | None:
    """CPU time that the container grants, in cores (control groups v2, then v1); None without a limit."""
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (CGROUP / quota_file).read_text().split()
            words += (CGROUP / period_file).read_text().split() if period_file else []
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # No such file, or `max` for no limit.
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None


def cpu_model() -> str:
    """The CPU's name, and whether it has AMX, which virtual machines leave out of the name and which makes bf16 and int8
    several times as fast."""
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    name = " ".join(match[1].split()) if match else (platform.processor() or platform.machine() or "unknown CPU")
    return f"{name} with AMX" if "amx_tile" in _cpu_flags() else name


def cpu_has_bf16() -> bool:
    """Whether the CPU has instructions for bf16; without them torch emulates it, many times slower than fp32."""
    return not _cpu_flags().isdisjoint(BF16_FLAGS)


def _cpu_flags() -> frozenset[str]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return frozenset(match[1].split() if match else ())


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def load() -> float:
    """Load average of the last minute: processes that run or wait for a core."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
