"""This machine and its Python packages: versions, builds, cores, container limits. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
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


def torch_build() -> tuple[str, str | None] | None:
    """The version of the installed torch and the CUDA version that it was built for, read without importing it."""
    found = importlib.util.find_spec("torch")
    try:
        text = Path(found.origin or "").with_name("version.py").read_text(encoding="utf-8") if found else ""
    except (OSError, ValueError):
        text = ""
    version, cuda = (re.search(rf"^{key}\b[^=\n]*= *'([^']+)'", text, re.M) for key in ("__version__", "cuda"))
    known = version[1] if version else installed_version("torch")
    return None if known is None else (known, cuda[1] if cuda else None)


def cuda_gpus() -> list[tuple[str, int]] | None:
    """Name and memory in bytes of each GPU that NVIDIA's driver lends to this process; None where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    count, found = ctypes.c_int(), []
    if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
        for number in range(count.value):
            device, name, size = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
            driver.cuDeviceGet(ctypes.byref(device), number)
            driver.cuDeviceGetName(name, len(name), device)
            driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
            found.append((name.value.decode(errors="replace"), size.value))
    return found


def torch_threads() -> int:
    """How many threads torch starts with, at most."""
    with contextlib.suppress(ValueError):
        return int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])
    return usable_cores()


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
