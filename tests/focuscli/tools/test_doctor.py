"""`focus doctor`: each check with a sound and a broken machine."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from focuscli.storage import files, paths, weights
from focuscli.tools import doctor, machine

NO = SimpleNamespace(is_available=lambda: False)
TORCH = SimpleNamespace(
    __version__="2.13.0", version=SimpleNamespace(cuda=None), cuda=NO, backends=SimpleNamespace(mps=NO)
)


def one(check):
    return doctor.Check("", *check())


def test_all_checks_run_here_and_one_that_raises_is_a_failed_check(monkeypatch):
    def broken() -> doctor.Result:
        raise RuntimeError("no such\nthing")

    monkeypatch.setitem(doctor.CHECKS, "broken", broken)
    found = {check.name: check for check in doctor.run_checks()}
    assert {*doctor.CHECKS} <= {*found}
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
    ("torch", "wanted", "problem", "status"),
    [
        ("2.13.0+cpu", "==2.13.0", None, "ok"),
        ("2.15.0", ">=2.14.0", None, "ok"),
        ("2.13.0", "==2.12.0", None, "warn"),
        ("2.13.0+cpu", "==2.12.0", "operator torchvision::nms does not exist", "failed"),
    ],
)
def test_torchvision_is_compared_with_torch(pretend, monkeypatch, torch, wanted, problem, status):
    pretend({"torch": torch, "torchvision": "0.27.0"}, {"torchvision": problem} if problem else {})
    monkeypatch.setattr(machine, "requirements", lambda name: {"torch": doctor.SpecifierSet(wanted)})
    check = one(doctor.check_torchvision)
    assert check.status == status
    assert all(words in check.detail for words in (torch, "0.27.0", problem or ""))
    if problem:
        assert check.fix.endswith("torch torchvision --index-url https://download.pytorch.org/whl/cpu")


def test_packages_that_are_missing_too_old_or_do_not_load(pretend):
    pretend({"ftfy": None, "pillow": "0.4.12"}, {"timm": "no nms", "torch": "libcudart"})
    check = one(doctor.check_packages)
    assert check.status == "failed"
    for words in ("ftfy is not installed, >=6.1", "pillow is 0.4.12, >=10.1 is required", "timm does not load: no nms"):
        assert words in check.detail
    assert check.fix.endswith("--upgrade 'ftfy>=6.1' 'pillow>=10.1'")
    assert "libcudart" in one(doctor.check_torch).detail
    assert one(doctor.check_device).status == "failed"


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
    check = one(doctor.check_threads)
    assert (check.status, check.fix) == ("warn" if fix else "ok", fix)


@pytest.mark.parametrize(("driver", "status"), [("/usr/bin/nvidia-smi", "warn"), (None, "ok")])
def test_cpu_although_there_is_a_driver_warns(pretend, driver, status, monkeypatch):
    pretend({}, {})
    monkeypatch.setattr(doctor.shutil, "which", lambda _: driver)
    monkeypatch.setattr(doctor.Path, "exists", lambda _: False)
    assert one(doctor.check_device).status == status


@pytest.mark.parametrize(
    ("content", "record", "status", "words"),
    [
        (b"", None, "failed", "is empty"),
        (b"weights", None, "ok", "no record"),
        (b"weights", "[", "ok", "no record"),
        (b"weights", '{"sha256": "SHA"}', "ok", "ok)"),
        (b"weights", '{"sha256": "ab"}', "failed", "has changed"),
    ],
)
def test_weights(tmp_path, monkeypatch, content, record, status, words):
    file = tmp_path / "x.pt"
    file.write_bytes(content)
    if record:
        (tmp_path / "x.pt.json").write_text(record.replace("SHA", files.file_sha256(file)))
    monkeypatch.setattr(weights, "installed_weights", lambda: file)
    check = one(doctor.check_weights)
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
    assert one(doctor.check_weights).fix == "focus prepare weights"
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    assert one(doctor.check_offline).detail.startswith("off")
    assert one(doctor.check_weights).fix == "focus prepare weights PATH"
