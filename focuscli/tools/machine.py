"""This machine and its Python packages: versions, builds, cores, container limits. Imports nothing heavy."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from focuscli.errors import one_line

CGROUP = Path("/sys/fs/cgroup")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


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
    """The versions that an installed package requires of others, by their names; extras are not asked for."""
    declared = [Requirement(line) for line in importlib.metadata.requires(package) or []]
    return {
        each.name: each.specifier for each in declared if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def cpu_quota() -> float | None:
    """CPU time that the container grants, in cores (control groups v2); None without a limit."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or `max` for no limit
        return None


def cpu_model() -> str:
    """The CPU's name, and whether it has AMX, which virtual machines leave out of the name and which makes bf16 and int8
    several times as fast."""
    name = _cpuinfo("model name|Hardware") or platform.processor() or platform.machine() or "unknown CPU"
    return f"{name} with AMX" if "amx_tile" in _cpuinfo("flags|Features").split() else name


def cpu_has_bf16() -> bool:
    """Whether the CPU has instructions for bf16; without them torch emulates it, many times slower than fp32."""
    return not BF16_FLAGS.isdisjoint(_cpuinfo("flags|Features").split())


def _cpuinfo(key: str) -> str:
    """The first value of a key (a regular expression) in /proc/cpuinfo, or nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf"^(?:{key})\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""
