"""`focus doctor`: each check with a sound and a broken machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from focuscli.storage import files, paths, weights
from focuscli.tools import doctor, machine

NO = SimpleNamespace(is_available=lambda: False)
TORCH = SimpleNamespace(
    __version__="2.13.0", version=SimpleNamespace(cuda=None), cuda=NO, backends=SimpleNamespace(mps=NO)
)


def one(check, **options):
    return doctor.Check("", *check(**options))


def test_all_checks_run_here_and_one_that_raises_is_a_failed_check(monkeypatch):
    def broken() -> doctor.Result:
        raise RuntimeError("no such\nthing")

    monkeypatch.setitem(doctor.CHECKS, "broken", broken)
    found = {check.name: check for check in doctor.run_checks()}
    assert {*doctor.IMPORTING, *doctor.CHECKS} <= {*found}
    check = found.pop("broken")
    assert (check.status, check.detail) == ("failed", "the check itself failed: RuntimeError: no such thing")
    assert all("itself failed" not in check.detail for check in found.values())
    assert all(check.fix for check in found.values() if check.status in ("warn", "failed"))


@pytest.fixture
def pretend(monkeypatch):
    """Pretend versions of packages, and modules that do not load."""

    def set_up(installed, broken):
        version = machine.installed_version
        monkeypatch.setattr(machine, "installed_version", lambda name: installed.get(name, version(name)))
        monkeypatch.setattr(machine, "try_import", lambda name: (None, broken[name]) if name in broken else (TORCH, ""))

    return set_up


@pytest.mark.parametrize(
    ("torch", "wanted", "problem", "full", "status"),
    [
        ("2.13.0+cpu", "==2.13.0", None, True, "ok"),
        ("2.13.0+cpu", "==2.13.0", None, False, "warn"),
        ("2.15.0", ">=2.14.0", None, False, "ok"),
        ("2.13.0", "==2.12.0", None, True, "warn"),
        ("2.13.0", "==2.12.0", None, False, "warn"),
        ("2.13.0+cpu", "==2.12.0", "operator torchvision::nms does not exist", True, "failed"),
    ],
)
def test_torchvision_is_compared_with_torch(pretend, monkeypatch, torch, wanted, problem, full, status):
    pretend({"torch": torch, "torchvision": "0.27.0"}, {"torchvision": problem} if problem else {})
    monkeypatch.setattr(machine, "requirements", lambda name: {"torch": doctor.SpecifierSet(wanted)})
    check = one(doctor.check_torchvision, full=full)
    assert check.status == status
    assert all(words in check.detail for words in (torch, "0.27.0", problem or ""))
    if problem:
        assert check.fix.endswith("torch torchvision --index-url https://download.pytorch.org/whl/cpu")


def test_packages_that_are_missing_too_old_or_do_not_load(pretend):
    pretend({"ftfy": None, "pillow": "0.4.12"}, {"timm": "no nms", "torch": "libcudart"})
    check = one(doctor.check_packages, full=True)
    assert check.status == "failed"
    for words in ("ftfy is not installed, >=6.1", "pillow is 0.4.12, >=10.1 is required", "timm does not load: no nms"):
        assert words in check.detail
    assert check.fix.endswith("--upgrade 'ftfy>=6.1' 'pillow>=10.1'")
    assert "libcudart" in one(doctor.check_torch, full=True).detail
    assert one(doctor.check_device, full=True).status == "failed"


@pytest.mark.parametrize(
    ("cores", "limit", "fix"),
    [
        (8, "max 100000\n", None),
        (8, "150000 100000\n", "export OMP_NUM_THREADS=2"),
        (4, None, "export OMP_NUM_THREADS=4"),
    ],
)
def test_eight_threads_against_cores_and_the_containers_limit(monkeypatch, tmp_path, cores, limit, fix):
    if limit:
        (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    monkeypatch.setattr(machine, "try_import", lambda _: (SimpleNamespace(get_num_threads=lambda: 8), ""))
    check = one(doctor.check_threads, full=True)
    assert (check.status, check.fix) == ("warn" if fix else "ok", fix)


@pytest.mark.parametrize(
    ("build", "gpus", "driver", "status", "words"),
    [
        (("2.13.0+cpu", None), None, None, "ok", "cpu, no GPU"),
        (("2.13.0+cpu", None), None, "/usr/bin/nvidia-smi", "warn", "finds no GPU"),
        (("2.13.0+cpu", None), [("H100", 80 << 30)], None, "warn", "CPU build"),
        (("2.13.0", "13.0"), [], "/usr/bin/nvidia-smi", "warn", "build for CUDA 13.0"),
        (("2.13.0", "13.0"), [("H100", 80 << 30)], None, "ok", "cuda: H100 (80.0 GiB)"),
        (None, None, None, "failed", "not installed"),
    ],
)
def test_the_device_without_importing_torch(monkeypatch, build, gpus, driver, status, words):
    monkeypatch.setattr(machine, "torch_build", lambda: build)
    monkeypatch.setattr(machine, "cuda_gpus", lambda: gpus)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: driver)
    monkeypatch.setattr(doctor.Path, "exists", lambda _: False)
    check = one(doctor.check_device, full=False)
    assert (check.status, words in check.detail) == (status, True), check.detail


def test_the_build_of_torch_is_read_as_torch_says_it():
    import torch

    assert machine.torch_build() == (torch.__version__, torch.version.cuda)


def test_gpus_are_asked_of_the_driver(monkeypatch):
    """With a driver that has two, and one that does not start."""

    class Driver:
        def __init__(self, failure):
            self.cuInit = lambda flags: failure

        def cuDeviceGetCount(self, count):
            count._obj.value = 2
            return 0

        def cuDeviceGet(self, device, number):
            device._obj.value = number

        def cuDeviceGetName(self, name, size, device):
            name.value = f"GPU {device.value}".encode()

        def cuDeviceTotalMem_v2(self, size, device):
            size._obj.value = 80 << 30

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Driver(0))
    assert machine.cuda_gpus() == [("GPU 0", 80 << 30), ("GPU 1", 80 << 30)]
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Driver(100))
    assert machine.cuda_gpus() == []


def test_doctor_imports_nothing_slow_without_full():
    code = "import sys\nfrom focuscli.tools import doctor\ndoctor.run_checks()\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "torchvision", "timm", "scipy", "PIL"} & {*done.stdout.split()} == set()


@pytest.mark.parametrize(("driver", "status"), [("/usr/bin/nvidia-smi", "warn"), (None, "ok")])
def test_cpu_although_there_is_a_driver_warns(pretend, driver, status, monkeypatch):
    pretend({}, {})
    monkeypatch.setattr(doctor.shutil, "which", lambda _: driver)
    monkeypatch.setattr(doctor.Path, "exists", lambda _: False)
    assert one(doctor.check_device, full=True).status == status


@pytest.mark.parametrize(
    ("content", "record", "full", "status", "words"),
    [
        (b"", None, False, "failed", "is empty"),
        (b"", '{"sha256": "SHA"}', False, "failed", "is empty"),
        (b"weights", None, True, "ok", "no record"),
        (b"weights", "[", True, "ok", "no record"),
        (b"weights", '{"sha256": "SHA"}', True, "ok", "ok)"),
        (b"weights", '{"sha256": "ab"}', True, "failed", "has changed"),
        (b"weights", '{"sha256": "ab", "activation": "gelu"}', False, "ok", "activation gelu, sha256 ab... on record"),
        (b"touched", '{"sha256": "ab"}', False, "failed", "has changed"),
    ],
)
def test_weights(tmp_path, monkeypatch, content, record, full, status, words):
    file = tmp_path / "x.pt"
    file.write_bytes(content)
    if record:
        (tmp_path / "x.pt.json").write_text(record.replace("SHA", files.file_sha256(file)))
        os.utime(file, (1e9, 4e9 if content == b"touched" else 1e9))
    monkeypatch.setattr(weights, "installed_weights", lambda: file)
    check = one(doctor.check_weights, full=full)
    assert (check.status, check.fix is None) == (status, status == "ok")
    assert words in check.detail


def test_datasets_and_runs(coloured_dataset, tmp_path):
    assert one(doctor.check_datasets).fix == "focus prepare synthetic"
    schema = (coloured_dataset / "schema.toml").read_text()
    detached = schema.replace(str(coloured_dataset.parent / "images"), str(tmp_path / "gone"))
    bare = json.dumps({"labels_only": True})
    contents = {  # schema.toml, prepare.json, status and words
        "sound": (schema, "{}", "ok", "images in"),
        "unreadable": ("name = ", "{}", "failed", "schema.toml"),
        "detached": (detached, "{}", "failed", str(tmp_path / "gone")),
        "bare": (detached, bare, "ok", "labels only"),
        "damaged": (schema, "{", "failed", "prepare.json"),
    }
    for name, (text, info, _, _) in contents.items():
        folder = paths.datasets_dir() / name
        folder.mkdir(parents=True)
        (folder / "schema.toml").write_text(text)
        (folder / "prepare.json").write_text(info)
        (folder / "labels.csv").write_bytes((coloured_dataset / "labels.csv").read_bytes())
    assert one(doctor.check_runs).status == "missing"
    best = paths.runs_dir() / "first" / "checkpoints" / "best"
    best.mkdir(parents=True)
    (best / "state.json").write_text("{}")
    (paths.runs_dir() / "empty").mkdir()
    found = {check.name: check for check in doctor.run_checks()}
    for name, (_, _, status, words) in contents.items():
        assert found[f"dataset {name}"].status == status
        assert words in found[f"dataset {name}"].detail
    assert found["runs"].detail == f"1 in {paths.runs_dir()}, latest {best}"


def test_disk_downloads_and_no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "not" / "yet" / "there"))
    for gib, status in ((300, "ok"), (1, "warn")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, gib=gib: SimpleNamespace(free=gib * 1024**3))
        assert one(doctor.check_disk).status == status
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = one(doctor.check_disk)
    assert (check.status, "FOCUS_HOME" in check.fix) == ("failed", True)
    assert not (tmp_path / "not").exists()
    assert one(doctor.check_offline).detail.startswith("allowed")
    assert one(doctor.check_weights, full=False).fix == "focus prepare weights"
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    assert one(doctor.check_offline).detail.startswith("off")
    assert one(doctor.check_weights, full=False).fix == "focus prepare weights PATH"
