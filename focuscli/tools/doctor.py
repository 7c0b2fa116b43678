"""Checks of this machine and installation. They read only: nothing is downloaded, written or printed.

Importing torch, torchvision and timm takes six seconds. Without `full` their versions are read instead, the driver is asked
for GPUs, and only weights that are newer than their record are compared with it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.specifiers import SpecifierSet

from focuscli.errors import FocusError, one_line, plural
from focuscli.storage import files, paths
from focuscli.storage.documents import read_json
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


def run_checks(*, full: bool = False) -> list[Check]:
    """All checks, in the order in which to fix what they find. A check that raises counts as failed."""
    found = []
    datasets = paths.prepared_datasets()
    checks = {name: functools.partial(check, full=full) for name, check in IMPORTING.items()} | CHECKS
    checks |= {f"dataset {folder.name}": functools.partial(check_dataset, folder) for folder in datasets}
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


def check_torch(*, full: bool) -> Result:
    build = machine.torch_build()
    torch, problem = machine.try_import("torch") if full else (build, "")
    if torch is None or build is None:
        version = machine.installed_version("torch")
        detail = f"{version} does not load: {problem}" if version else "not installed"
        return "failed", detail, _pip("--force-reinstall torch")
    return "ok", f"{build[0]} ({_build(build)})", None


def check_torchvision(*, full: bool) -> Result:
    """Whether torchvision, which timm imports, was built for the installed torch."""
    torch, version = machine.installed_version("torch"), machine.installed_version("torchvision")
    build = _label(torch)
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    fix = _pip(f"--force-reinstall --upgrade torch torchvision{index}")
    if version is None:
        return "failed", "not installed", fix
    module, problem = machine.try_import("torchvision") if full else (version, "")
    if module is None:
        return "failed", f"{version} does not load with torch {torch}: {problem}", fix
    wanted = machine.requirements("torchvision").get("torch", SpecifierSet())
    if torch is not None and not wanted.contains(torch, prereleases=True):
        return "warn", f"{version} was built for torch {wanted}, not {torch}", fix
    if not full and "cpu" in (build, _label(version)) and build != _label(version):
        return (
            "warn",
            f"{version} and torch {torch} are not both CPU builds; focus doctor --full shows if it loads",
            fix,
        )
    return "ok", f"{version}, fits torch {torch}", None


def check_packages(*, full: bool) -> Result:
    """Every other required package with its lower bound; `full` also imports timm."""
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
    module, problem = machine.try_import("timm") if full else (machine, "")
    if module is None:
        broken.append(f"timm does not load: {problem}")
    if broken:
        fix = _pip(f"--upgrade {' '.join(fixes)}") if fixes else "Fix torch and torchvision first."
        return "failed", "; ".join(broken), fix
    return "ok", ", ".join(present), None


def check_device(*, full: bool) -> Result:
    build = machine.torch_build()
    if build is None:
        return "failed", "unknown: torch is not installed", "Fix torch first."
    gpus = machine.cuda_gpus() or []
    shown = [f"{name} ({_gib(size)})" for name, size in gpus]
    usable, mps = build[1] is not None and bool(gpus), platform.system() == "Darwin" and platform.machine() == "arm64"
    if full or "rocm" in build[0]:
        torch, _ = machine.try_import("torch")
        if torch is None:
            return "failed", "unknown: torch does not load", "Fix torch first."
        usable, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        memory = [torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count() if usable else 0)]
        names = [torch.cuda.get_device_name(index) for index in range(len(memory))]
        shown = [
            f"{name} ({_gib(free)} of {_gib(total)} free)" for name, (free, total) in zip(names, memory, strict=True)
        ]
    if usable:
        return "ok", f"cuda: {', '.join(shown)}", None
    if gpus or Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        detail = f"cpu, although there is an NVIDIA driver: torch {build[0]} ({_build(build)}) finds no GPU"
        fix = f"{_pip('--force-reinstall torch torchvision')}   (an older driver, see nvidia-smi: an older CUDA build)"
        return "warn", detail, fix
    return "ok", "cpu; an Apple GPU is available with --device mps" if mps else "cpu, no GPU", None


def check_threads(*, full: bool) -> Result:
    torch, _ = machine.try_import("torch") if full else (None, "")
    usable, quota = machine.usable_cores(), machine.cpu_quota()
    threads = machine.torch_threads() if torch is None else torch.get_num_threads()
    cores = usable if quota is None else min(usable, math.ceil(quota))
    limit = f", limited to {quota:g} by the container" if quota is not None and quota < usable else ""
    detail = f"{threads} for {usable} usable cores{limit}"
    if threads > cores:
        return "warn", f"{detail}: more threads than cores slow each other down", f"export OMP_NUM_THREADS={cores}"
    return "ok", detail, None


def check_weights(*, full: bool) -> Result:
    from focuscli.storage.weights import installed_weights

    path = installed_weights()
    if path is None:
        fix = "focus prepare weights PATH" if paths.offline() else "focus prepare weights"
        return "missing", f"no CLIP weights in {paths.weights_dir()}", fix
    record, file = {}, path.with_name(f"{path.name}.json")
    # A file that was put there by hand has no record.
    with contextlib.suppress(FocusError, ValueError, TypeError):
        record = dict(read_json(file))
    size, recorded = path.stat().st_size, record.get("sha256")
    activation = f"activation {record['activation']}, " if "activation" in record else ""
    about = f"{path} ({size / 1024**2:,.0f} MiB, {activation}sha256 "
    if size and recorded and not full and path.stat().st_mtime <= file.stat().st_mtime:
        return "ok", f"{about}{str(recorded)[:8]}... on record)", None
    digest = files.file_sha256(path)
    if recorded not in (None, digest) or not size:
        detail = f"{path} is empty or has changed since it was installed: sha256 {digest[:8]}..., recorded: {recorded}"
        return "failed", detail, "focus prepare weights --force"
    return "ok", f"{about}{digest[:8]}... {'ok' if recorded else 'not compared, no record of it'})", None


def check_datasets() -> Result:
    count = len(paths.prepared_datasets())
    if not count:
        return "missing", f"none prepared in {paths.datasets_dir()}", "focus prepare synthetic"
    return "ok", f"{count} in {paths.datasets_dir()}", None


def check_dataset(folder: Path) -> Result:
    from focuscli.data.folder import summarise

    found = summarise(folder)
    if not (found["labels_only"] or Path(found["image_root"]).is_dir()):
        fix = f"Connect that disk, or set image_root in {folder / 'schema.toml'}."
        return "failed", f"its images should be in {found['image_root']}, which is not a folder", fix
    images = "labels only" if found["labels_only"] else f"images in {found['image_root']}"
    called = "" if found["called"] == folder.resolve().name else f"{found['called']}, "
    return "ok", f"{called}{found['images']:,} labelled, {plural(found['attributes'], 'attribute')}, {images}", None


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


IMPORTING: dict[str, Callable[..., Result]] = {
    "python": lambda full: ("ok", f"{platform.python_version()} ({sys.executable})", None),
    "torch": check_torch,
    "torchvision": check_torchvision,
    "packages": check_packages,
    "device": check_device,
    "cpu threads": check_threads,
    "weights": check_weights,
}
"""Checks that look closer with `full`."""
CHECKS: dict[str, Callable[[], Result]] = {
    "datasets": check_datasets,
    "runs": check_runs,
    "disk": check_disk,
    "downloads": check_offline,
}


def _build(torch: tuple[str, str | None]) -> str:
    return "CPU build" if torch[1] is None else f"build for CUDA {torch[1]}"


def _label(version: str | None) -> str:
    """The build in a version: cpu, cu128, or nothing."""
    return (version or "").partition("+")[2]


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
