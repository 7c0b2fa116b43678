"""Checks of this machine and installation. They read only: nothing is downloaded, written or printed."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.specifiers import SpecifierSet

from focuscli.errors import FocusError, one_line
from focuscli.storage import files, paths
from focuscli.tools import machine

Status = Literal["ok", "warn", "missing", "failed"]
Result = tuple[Status, str, str | None]  # status, detail and fix, see `Check`
DISTRIBUTION = "focus-par"
LEAST_FREE_SPACE = 2 * 1024**3  # bytes; a checkpoint with its optimiser state takes more than 1 GiB


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        status: `ok`; `warn` works, but not as it should; `missing` is needed by some commands only; `failed` breaks.
        fix: a command or a step that solves the problem; None where there is none.
    """

    name: str
    status: Status
    detail: str
    fix: str | None = None


def run_checks() -> list[Check]:
    """All checks, in the order in which to fix what they find. A check that raises counts as failed."""
    found = []
    datasets = paths.prepared_datasets()
    checks = CHECKS | {f"dataset {folder.name}": functools.partial(check_dataset, folder) for folder in datasets}
    for name, check in checks.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what libraries warn about at import is not asked here
                found.append(Check(name, *check()))
        except FocusError as error:
            fix = error.hint or "Prepare it again: focus prepare ... --force"
            found.append(Check(name, "failed", error.problem, fix))
        except Exception as error:
            found.append(Check(name, "failed", f"the check itself failed: {one_line(error)}"))
    return found


def check_torch() -> Result:
    torch, problem = machine.try_import("torch")
    if torch is None:
        version = machine.installed_version("torch")
        return "failed", f"{version} does not load: {problem}", _pip("--force-reinstall torch")
    return "ok", f"{torch.__version__} ({_build(torch)})", None


def check_torchvision() -> Result:
    """Whether torchvision, which timm imports, was built for the installed torch."""
    torch, version = machine.installed_version("torch"), machine.installed_version("torchvision")
    build = (torch or "").partition("+")[2]  # such as cpu or cu128
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    fix = _pip(f"--force-reinstall --upgrade torch torchvision{index}")
    module, problem = machine.try_import("torchvision")
    if module is None:
        return "failed", f"{version} does not load with torch {torch}: {problem}", fix
    wanted = machine.requirements("torchvision").get("torch", SpecifierSet())
    if torch is not None and not wanted.contains(torch, prereleases=True):
        return "warn", f"{version} loads, but it was built for torch {wanted}, not {torch}", fix
    return "ok", f"{version}, fits torch {torch}", None


def check_packages() -> Result:
    """Every other required package with its lower bound; timm is also imported."""
    present, broken, fixes = [], [], []
    for name, wanted in machine.requirements(DISTRIBUTION).items():
        version = machine.installed_version(name)
        if name in ("torch", "torchvision"):
            continue
        if version is not None and wanted.contains(version, prereleases=True):
            present.append(f"{name} {version}")
        else:
            broken.append(f"{name} is {version or 'not installed'}, {wanted} is required")
            fixes.append(f"'{name}{wanted}'")
    module, problem = machine.try_import("timm")
    if module is None:
        broken.append(f"timm does not load: {problem}")
    if broken:
        fix = _pip(f"--upgrade {' '.join(fixes)}") if fixes else "Fix torch and torchvision first."
        return "failed", "; ".join(broken), fix
    return "ok", ", ".join(present), None


def check_device() -> Result:
    torch, _ = machine.try_import("torch")
    if torch is None:
        return "failed", "unknown: torch does not load", "Fix torch first."
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            names.append(f"{torch.cuda.get_device_name(index)} ({_gib(free)} of {_gib(total)} free)")
        return "ok", f"cuda: {', '.join(names)}", None
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        detail = f"cpu, although there is an NVIDIA driver: torch {torch.__version__} ({_build(torch)}) finds no GPU"
        fix = f"{_pip('--force-reinstall torch torchvision')}   (an older driver, see nvidia-smi: an older CUDA build)"
        return "warn", detail, fix
    mps = torch.backends.mps.is_available()
    return "ok", "cpu; an Apple GPU is available with --device mps" if mps else "cpu, no GPU", None


def check_threads() -> Result:
    torch, _ = machine.try_import("torch")
    usable, quota = machine.usable_cores(), machine.cpu_quota()
    threads = usable if torch is None else torch.get_num_threads()
    cores = usable if quota is None else min(usable, math.ceil(quota))
    limit = f", limited to {quota:g} by the container" if quota is not None and quota < usable else ""
    detail = f"{threads} for {usable} usable cores{limit}"
    if threads > cores:
        return "warn", f"{detail}: more threads than cores slow each other down", f"export OMP_NUM_THREADS={cores}"
    return "ok", detail, None


def check_weights() -> Result:
    from focuscli.storage.weights import installed_weights

    path = installed_weights()
    if path is None:
        fix = "focus prepare weights PATH" if paths.offline() else "focus prepare weights"
        return "missing", f"no CLIP weights in {paths.weights_dir()}", fix
    digest, recorded = files.file_sha256(path), None
    # A file that was put there by hand has no record.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        recorded = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))["sha256"]
    if recorded not in (None, digest) or not path.stat().st_size:
        detail = f"{path} is empty or has changed since it was installed: sha256 {digest[:8]}..., recorded: {recorded}"
        return "failed", detail, "focus prepare weights --force"
    agrees = "ok" if recorded else "not compared, no record of it"
    return "ok", f"{path} ({path.stat().st_size / 1024**2:,.0f} MiB, sha256 {digest[:8]}... {agrees})", None


def check_datasets() -> Result:
    count = len(paths.prepared_datasets())
    if not count:
        return "missing", f"none prepared in {paths.datasets_dir()}", "focus prepare synthetic"
    return "ok", f"{count} in {paths.datasets_dir()}", None


def check_dataset(folder: Path) -> Result:
    from focuscli.data.folder import read_folder

    dataset = read_folder(folder)
    if not (dataset.labels_only or dataset.root.is_dir()):
        fix = f"Connect that disk, or set image_root in {folder / 'schema.toml'}."
        return "failed", f"its images should be in {dataset.root}, which is not a folder", fix
    images = "labels only" if dataset.labels_only else f"images in {dataset.root}"
    return "ok", f"{len(dataset.schema.attributes)} attributes, {images}", None


def check_runs() -> Result:
    folder = paths.runs_dir()
    count = sum(any(run.glob("checkpoints/*/state.json")) for run in folder.glob("[!.]*") if not run.is_symlink())
    if not count:
        return "missing", f"no trained model in {folder}", "focus train --dataset NAME"
    return "ok", f"{count} in {folder}, latest {paths.resolve_checkpoint('latest')}", None


def check_disk() -> Result:
    home = paths.home()
    existing = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return "failed", f"cannot write to {existing}", "Set FOCUS_HOME to a folder of yours."
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_SPACE:
        fix = "Free some space, or set FOCUS_HOME to another disk."
        return "warn", f"only {_gib(free)} free for {home}", fix
    return "ok", f"{_gib(free)} free for {home}", None


def check_offline() -> Result:
    if paths.offline():
        return "ok", "off (FOCUS_OFFLINE is set): weights must come from a file", None
    return "ok", "allowed, for weights only; FOCUS_OFFLINE=1 forbids them", None


CHECKS: dict[str, Callable[[], Result]] = {
    "python": lambda: ("ok", f"{platform.python_version()} ({sys.executable})", None),
    "torch": check_torch,
    "torchvision": check_torchvision,
    "packages": check_packages,
    "device": check_device,
    "cpu threads": check_threads,
    "weights": check_weights,
    "datasets": check_datasets,
    "runs": check_runs,
    "disk": check_disk,
    "downloads": check_offline,
}


def _build(torch: Any) -> str:
    return "CPU build" if torch.version.cuda is None else f"build for CUDA {torch.version.cuda}"


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
