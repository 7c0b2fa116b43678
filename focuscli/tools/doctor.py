"""Checks of this machine and installation. They read only: nothing is downloaded, written or printed."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.specifiers import SpecifierSet

from focuscli.errors import FocusError, one_line
from focuscli.storage import files, paths
from focuscli.tools import machine

Status = Literal["ok", "warn", "missing", "failed"]
Result = tuple[Status, str, str | None]  # status, detail and fix, see `Check`
DISTRIBUTION = "focus-par"
OLDEST_PYTHON = (3, 11)
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
    datasets = {f"dataset {folder.name}": functools.partial(check_dataset, folder) for folder in _datasets()}
    for name, check in (CHECKS | datasets).items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what libraries warn about at import is not asked here
                found.append(Check(name, *check()))
        except Exception as error:
            found.append(Check(name, "failed", f"the check itself failed: {one_line(error)}"))
    return found


def check_python() -> Result:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return "failed", f"{version} is too old", "Install Python 3.11 or newer."
    return "ok", f"{version} ({sys.executable})", None


def check_torch() -> Result:
    version = machine.installed_version("torch")
    if version is None:
        return "failed", "not installed", _pip("torch")
    torch, problem = machine.try_import("torch")
    if torch is None:
        return "failed", f"{version} does not load: {problem}", _pip("--force-reinstall torch")
    build = "CPU build" if torch.version.cuda is None else f"build for CUDA {torch.version.cuda}"
    return "ok", f"{torch.__version__} ({build})", None


def check_torchvision() -> Result:
    """Whether torchvision, which timm imports, was built for the installed torch."""
    torch, version = machine.installed_version("torch"), machine.installed_version("torchvision")
    build = (torch or "").partition("+")[2]  # such as cpu or cu128
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    fix = _pip(f"--force-reinstall --upgrade torch torchvision{index}")
    if version is None:
        return "failed", "not installed; timm needs it", fix
    pair = f"torchvision {version} with torch {torch}"
    wanted = machine.requirements("torchvision").get("torch", SpecifierSet())
    other_build = version.partition("+")[2]
    reason = ""
    if torch is not None and not wanted.contains(torch, prereleases=True):
        reason = f"it was built for torch {wanted}"
    elif build and other_build not in ("", build):
        reason = f"one is the {build} build, the other the {other_build} build"
    module, problem = machine.try_import("torchvision")
    if module is None:
        return "failed", f"{pair} does not load: {reason}{'; ' * bool(reason)}{problem}", fix
    if reason:
        return "warn", f"{pair} loads, but {reason}", fix
    return "ok", f"{version}, fits torch {torch}", None


def check_packages() -> Result:
    """Every other required package with its lower bound; timm is also imported."""
    try:
        declared = machine.requirements(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "failed", f"{DISTRIBUTION} itself is not installed", _pip("--editable .")
    present, broken, fixes = [], [], []
    for name, wanted in declared.items():
        version = machine.installed_version(name)
        if name in ("torch", "torchvision"):
            continue
        if version is not None and wanted.contains(version, prereleases=True):
            present.append(f"{name} {version}")
            continue
        broken.append(f"{name} is not installed" if version is None else f"{name} is {version}, {wanted} is required")
        fixes.append(f"'{name}{wanted}'")
    module, problem = machine.try_import("timm")
    if module is None:
        broken.append(f"timm {machine.installed_version('timm')} does not load: {problem}")
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
    if machine.has_nvidia_driver():
        if torch.version.cuda is None:
            detail = f"cpu, although there is an NVIDIA driver: torch {torch.__version__} is a CPU build"
            return "warn", detail, _pip("--force-reinstall torch torchvision")
        detail = f"cpu: torch for CUDA {torch.version.cuda} finds no GPU that it can use with this NVIDIA driver"
        return "warn", detail, "Compare with nvidia-smi; an older driver needs an older CUDA build."
    mps = torch.backends.mps.is_available()
    return "ok", "cpu; an Apple GPU is available with --device mps" if mps else "cpu, no GPU", None


def check_threads() -> Result:
    torch, _ = machine.try_import("torch")
    threads = torch.get_num_threads() if torch is not None else (os.cpu_count() or 1)
    usable, quota, load = machine.usable_cores(), machine.cpu_quota(), machine.load()
    cores = min(usable, math.ceil(quota)) if quota is not None else usable
    limit = f", limited to {quota:g} by the container" if quota is not None and quota < usable else ""
    detail = f"{threads} for {usable} usable cores{limit}; load {load:.1f}"
    if threads > cores:
        detail += ": more threads than cores slow each other down"
        return "warn", detail, f"export OMP_NUM_THREADS={cores}"
    if cores == threads == 2 and load >= 1:
        detail += ": two threads on a busy two-core machine can be slower than one"
        return "warn", detail, "export OMP_NUM_THREADS=1"
    return "ok", detail, None


def check_weights() -> Result:
    from focuscli.storage.weights import installed_weights

    path = installed_weights()
    if path is None:
        fix = "focus prepare weights PATH" if paths.offline() else "focus prepare weights"
        return "missing", f"no CLIP weights in {paths.weights_dir()}", fix
    fix = "focus prepare weights --force"
    size = path.stat().st_size
    if not size:
        return "failed", f"{path} is empty", fix
    digest, recorded = files.file_sha256(path), _recorded_sha256(path)
    if recorded not in (None, digest):
        detail = f"{path} has changed since it was installed: sha256 {digest[:8]}..., was {str(recorded)[:8]}..."
        return "failed", detail, fix
    agrees = "ok" if recorded else "not compared, no record of it"
    return "ok", f"{path} ({size / 1024**2:,.0f} MiB, sha256 {digest[:8]}... {agrees})", None


def _recorded_sha256(path: Path) -> str | None:
    """What `focus prepare weights` noted beside the file; None for a file that was put there by hand."""
    try:
        recorded = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(recorded)


def check_datasets() -> Result:
    folders = _datasets()
    if not folders:
        return "missing", f"none prepared in {paths.datasets_dir()}", "focus prepare synthetic"
    return "ok", f"{len(folders)} in {paths.datasets_dir()}", None


def _datasets() -> list[Path]:
    return sorted(file.parent for file in paths.datasets_dir().glob("[!.]*/schema.toml"))


def check_dataset(folder: Path) -> Result:
    from focuscli.data.folder import is_labels_only
    from focuscli.data.schema import load_schema

    fix = f"focus prepare {folder.name} ... --force"
    try:
        schema, labels_only = load_schema(folder / "schema.toml"), is_labels_only(folder)
    except FocusError as error:
        return "failed", error.problem, error.hint or fix
    images = folder / Path(schema.image_root or "").expanduser()
    if not (folder / "labels.csv").is_file():
        return "failed", f"{folder} has no labels.csv", fix
    if labels_only:
        return "ok", f"{len(schema.attributes)} attributes, labels only", None
    if not images.is_dir():
        fix = f"Connect that disk, or set image_root in {folder / 'schema.toml'}."
        return "failed", f"its images should be in {images}, which is not a folder", fix
    return "ok", f"{len(schema.attributes)} attributes, images in {images}", None


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
    return "ok", "allowed, for weights only and only when asked; FOCUS_OFFLINE=1 forbids them", None


CHECKS: dict[str, Callable[[], Result]] = {
    "python": check_python,
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


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
