"""Checks of this machine and installation. Looks only: downloads nothing, writes nothing, prints nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from focuscli.errors import FocusError
from focuscli.storage import files, machine, paths

Status = Literal["ok", "warn", "missing", "failed"]
DISTRIBUTION = "focus-par"
OLDEST_PYTHON = (3, 11)
LITTLE_SPACE = 2 * 1024**3  # A checkpoint with its optimiser state takes more than 1 GiB.


@dataclass(frozen=True)
class Check:
    """What was looked at and found.

    Attributes:
        status: `ok`; `warn` works, but not as it should; `missing` is needed by some commands only; `failed` breaks.
        cure: a command or a step that mends it; None where there is nothing to mend.
    """

    name: str
    status: Status
    detail: str
    cure: str | None = None


def checks() -> list[Check]:
    """All checks, in the order in which to mend what they find. A check that breaks counts as failed."""
    found: list[Check] = []
    for name, look in CHECKS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What libraries warn about at import is not what was asked here.
                found += look()
        except Exception as error:
            found.append(Check(name, "failed", f"this check itself broke: {machine.one_line(error)}"))
    return found


def check_python() -> list[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return [Check("python", "failed", f"{version} is too old", "Install Python 3.11 or newer.")]
    return [Check("python", "ok", f"{version} ({sys.executable})")]


def check_torch() -> list[Check]:
    version = machine.installed_version("torch")
    if version is None:
        return [Check("torch", "failed", "not installed", _pip("torch"))]
    torch, problem = machine.try_import("torch")
    if torch is None:
        return [Check("torch", "failed", f"{version} does not load: {problem}", _pip("--force-reinstall torch"))]
    build = "CPU build" if torch.version.cuda is None else f"build for CUDA {torch.version.cuda}"
    return [Check("torch", "ok", f"{torch.__version__} ({build})")]


def check_torchvision() -> list[Check]:
    """Whether torchvision, which timm imports, was built for the torch that is here."""
    torch, version = machine.installed_version("torch"), machine.installed_version("torchvision")
    if version is None:
        return [Check("torchvision", "failed", "not installed; timm needs it", _torchvision_cure())]
    pair = f"torchvision {version} with torch {torch}"
    wanted = machine.torch_wanted_by_torchvision()
    unmet = wanted is not None and torch is not None and not machine.satisfies(torch, *wanted)
    reason = f"it was built for torch {wanted[0]}{wanted[1]}" if unmet and wanted else ""
    builds = [machine.build_tag(torch or ""), machine.build_tag(version)]
    if not unmet and all(builds) and builds[0] != builds[1]:
        reason = f"one is the {builds[0]} build, the other the {builds[1]} build"
    module, problem = machine.try_import("torchvision")
    if module is None:
        why = f"{reason}; {problem}" if reason else problem
        return [Check("torchvision", "failed", f"{pair} does not load: {why}", _torchvision_cure())]
    if reason:
        return [Check("torchvision", "warn", f"{pair} loads, but {reason}", _torchvision_cure())]
    return [Check("torchvision", "ok", f"{version}, fits torch {torch}")]


def check_packages() -> list[Check]:
    """Every other package that FOCUS requires, with its lower bound; timm is also imported."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [Check("packages", "failed", f"{DISTRIBUTION} itself is not installed", _pip("--editable ."))]
    present, broken = [], []
    for requirement in declared:
        match = re.match(r"([\w.-]+)\s*(?:\(?>=\s*([\w.]+))?", requirement)
        if match is None or "extra ==" in requirement or match[1] in ("torch", "torchvision"):
            continue
        name, least = match[1], match[2] or "0"
        version = machine.installed_version(name)
        if version is None:
            broken.append(Check(name, "failed", "not installed", _pip(f"'{name}>={least}'")))
        elif not machine.satisfies(version, ">=", least):
            broken.append(
                Check(name, "failed", f"{version} is older than {least}", _pip(f"--upgrade '{name}>={least}'"))
            )
        else:
            present.append(f"{name} {version}")
    if not any(check.name == "timm" for check in broken):
        module, problem = machine.try_import("timm")
        if module is None:
            detail = f"{machine.installed_version('timm')} does not load: {problem}"
            broken.append(Check("timm", "failed", detail, "Mend torch and torchvision first."))
    return [*broken, Check("packages", "ok", ", ".join(present))]


def check_device() -> list[Check]:
    torch, _ = machine.try_import("torch")
    if torch is None:
        return [Check("device", "failed", "unknown: torch does not load", "Mend torch first.")]
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            names.append(f"{torch.cuda.get_device_name(index)} ({_gib(free)} of {_gib(total)} free)")
        return [Check("device", "ok", f"cuda: {', '.join(names)}")]
    if machine.has_nvidia_driver():
        if torch.version.cuda is None:
            detail = f"cpu, although there is an NVIDIA driver: torch {torch.__version__} is a CPU build"
            return [Check("device", "warn", detail, _pip("--force-reinstall torch torchvision"))]
        detail = f"cpu: torch for CUDA {torch.version.cuda} finds no GPU that it can use with this NVIDIA driver"
        return [Check("device", "warn", detail, "Compare with nvidia-smi; an older driver needs an older CUDA build.")]
    mps = torch.backends.mps.is_available()
    return [Check("device", "ok", "cpu; an Apple GPU is there for --device mps" if mps else "cpu, no GPU")]


def check_threads() -> list[Check]:
    torch, _ = machine.try_import("torch")
    threads = torch.get_num_threads() if torch is not None else (os.cpu_count() or 1)
    usable, quota, load = machine.usable_cores(), machine.cpu_quota(), machine.load()
    cores = min(usable, math.ceil(quota)) if quota is not None else usable
    limit = f", limited to {quota:g} by the container" if quota is not None and quota < usable else ""
    detail = f"{threads} for {usable} usable cores{limit}; load {load:.1f}"
    if threads > cores:
        cure = f"export OMP_NUM_THREADS={cores}"
        return [Check("cpu threads", "warn", f"{detail}: more threads than cores wait for one another", cure)]
    if cores == threads == 2 and load >= 1:
        detail += ": two threads on a busy two-core machine can be slower than one"
        return [Check("cpu threads", "warn", detail, "export OMP_NUM_THREADS=1")]
    return [Check("cpu threads", "ok", detail)]


def check_weights() -> list[Check]:
    try:
        weights = importlib.import_module("focuscli.storage.weights")
    except ImportError as error:
        return [Check("weights", "missing", f"cannot be looked for: {machine.one_line(error)}")]
    path: Path | None = weights.installed_weights()
    if path is None:
        cure = "focus prepare weights PATH" if paths.offline() else "focus prepare weights"
        return [Check("weights", "missing", f"no CLIP weights in {paths.weights_dir()}", cure)]
    size = path.stat().st_size
    if not size:
        return [Check("weights", "failed", f"{path} is empty", "focus prepare weights --force")]
    digest = files.file_sha256(path)
    recorded = _recorded_sha256(path)
    if recorded is not None and recorded != digest:
        detail = f"{path} has changed since it was installed: sha256 {digest[:8]}..., was {recorded[:8]}..."
        return [Check("weights", "failed", detail, "focus prepare weights --force")]
    agrees = "ok" if recorded else "not compared, no record of it"
    return [Check("weights", "ok", f"{path} ({size / 1024**2:,.0f} MiB, sha256 {digest[:8]}... {agrees})")]


def check_datasets() -> list[Check]:
    from focuscli.data.folder import is_labels_only
    from focuscli.data.schema import load_schema

    folders = sorted(file.parent for file in paths.datasets_dir().glob("[!.]*/schema.toml"))
    if not folders:
        return [Check("datasets", "missing", f"none prepared in {paths.datasets_dir()}", "focus prepare synthetic")]
    found = []
    for folder in folders:
        name = f"dataset {folder.name}"
        cure = f"focus prepare {folder.name} ... --force"
        try:
            schema, labels_only = load_schema(folder / "schema.toml"), is_labels_only(folder)
        except FocusError as error:
            found.append(Check(name, "failed", error.problem, error.hint or cure))
            continue
        images = folder / Path(schema.image_root or "").expanduser()
        if not (folder / "labels.csv").is_file():
            found.append(Check(name, "failed", f"{folder} has no labels.csv", cure))
        elif labels_only:
            found.append(Check(name, "ok", f"{len(schema.attributes)} attributes, labels only"))
        elif not images.is_dir():
            cure = f"Attach that disk, or set image_root in {folder / 'schema.toml'}."
            found.append(Check(name, "failed", f"its images should lie in {images}, which is no folder", cure))
        else:
            found.append(Check(name, "ok", f"{len(schema.attributes)} attributes, images in {images}"))
    return found


def check_runs() -> list[Check]:
    folder = paths.runs_dir()
    count = sum(any(run.glob("checkpoints/*/state.json")) for run in folder.glob("[!.]*") if not run.is_symlink())
    if not count:
        return [Check("runs", "missing", f"no trained model in {folder}", "focus train --dataset NAME")]
    return [Check("runs", "ok", f"{count} in {folder}, latest {paths.resolve_checkpoint('latest')}")]


def check_disk() -> list[Check]:
    home = paths.home()
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return [Check("disk", "failed", f"cannot write to {there}", "Set FOCUS_HOME to a folder of yours.")]
    free = shutil.disk_usage(there).free
    if free < LITTLE_SPACE:
        cure = "Free some space, or set FOCUS_HOME to another disk."
        return [Check("disk", "warn", f"only {_gib(free)} free for {home}", cure)]
    return [Check("disk", "ok", f"{_gib(free)} free for {home}")]


def check_offline() -> list[Check]:
    if paths.offline():
        return [Check("downloads", "ok", "off (FOCUS_OFFLINE is set): weights must come from a file")]
    return [Check("downloads", "ok", "allowed, for weights only and only when asked; FOCUS_OFFLINE=1 forbids them")]


CHECKS: dict[str, Callable[[], list[Check]]] = {
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


def _recorded_sha256(path: Path) -> str | None:
    """What `focus prepare weights` noted beside the file; None for a file that was put there by hand."""
    try:
        recorded = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(recorded)


def _torchvision_cure() -> str:
    """Install torchvision anew from where this torch came from."""
    build = machine.build_tag(machine.installed_version("torch") or "")
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return _pip(f"--force-reinstall --upgrade torch torchvision{index}")


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
