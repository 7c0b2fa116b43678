from __future__ import annotations

import importlib.metadata
import json
import sys
import types
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from focuscli.storage import machine, paths
from focuscli.tools import doctor


def one(found: list[doctor.Check]) -> doctor.Check:
    assert len(found) == 1
    return found[0]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend versions of packages, what torchvision asks of torch, and modules that do not load."""

    def pretend(installed: dict[str, str | None], wanted: str = "", broken: dict[str, str] | None = None) -> None:
        real_version, real_requires = machine.installed_version, importlib.metadata.requires
        monkeypatch.setattr(machine, "installed_version", lambda name: installed.get(name, real_version(name)))
        monkeypatch.setattr(
            importlib.metadata,
            "requires",
            lambda name: ["numpy", wanted] if name == "torchvision" else real_requires(name),
        )
        missing = broken or {}
        monkeypatch.setattr(
            machine,
            "try_import",
            lambda name: (None, missing[name]) if name in missing else (types.SimpleNamespace(), ""),
        )

    return pretend


def test_all_checks_run_here_and_can_be_written_as_json() -> None:
    found = doctor.checks()
    names = [check.name for check in found]
    assert {"python", "torch", "torchvision", "packages", "device", "cpu threads", "disk"} <= set(names)
    assert [check for check in found if "itself broke" in check.detail] == []
    assert all(check.cure for check in found if check.status in ("warn", "failed"))
    assert json.loads(json.dumps([asdict(check) for check in found]))


def test_a_check_that_breaks_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Check]:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(doctor, "CHECKS", {"runs": broken, "downloads": doctor.check_offline})
    found = doctor.checks()
    assert [check.status for check in found] == ["failed", "ok"]
    assert "RuntimeError: no such thing" in found[0].detail


def test_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.check_python()).status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    check = one(doctor.check_python())
    assert (check.status, "3.10.4" in check.detail) == ("failed", True)


@pytest.mark.parametrize(
    ("torch", "torchvision", "wanted", "status"),
    [
        ("2.13.0", "0.28.0", "torch (==2.13.0)", "ok"),
        ("2.13.0+cpu", "0.28.0+cpu", "torch==2.13.0", "ok"),
        ("2.15.0", "0.29.2", "torch (>=2.14.0)", "ok"),
        ("2.13.0", "0.27.0", "torch (==2.12.0)", "warn"),
        ("2.13.0", "0.29.2", "torch>=2.14", "warn"),
        ("2.13.0+cpu", "0.28.0+cu128", "torch==2.13.0", "warn"),
    ],
)
def test_torchvision_is_compared_with_torch(
    versions: Callable[..., None], torch: str, torchvision: str, wanted: str, status: str
) -> None:
    versions({"torch": torch, "torchvision": torchvision}, wanted)
    check = one(doctor.check_torchvision())
    assert check.status == status
    assert torch in check.detail


def test_torchvision_that_does_not_load_names_both_versions_reason_and_cure(versions: Callable[..., None]) -> None:
    problem = "RuntimeError: operator torchvision::nms does not exist"
    versions({"torch": "2.13.0+cpu", "torchvision": "0.27.0"}, "torch (==2.12.0)", {"torchvision": problem})
    check = one(doctor.check_torchvision())
    assert check.status == "failed"
    for words in ("0.27.0", "2.13.0+cpu", "built for torch ==2.12.0", problem):
        assert words in check.detail
    assert check.cure is not None
    assert check.cure.endswith("torch torchvision --index-url https://download.pytorch.org/whl/cpu")


def test_torchvision_that_is_not_installed_fails(versions: Callable[..., None]) -> None:
    versions({"torchvision": None})
    assert one(doctor.check_torchvision()).status == "failed"


def test_torch_that_does_not_load_fails(versions: Callable[..., None]) -> None:
    versions({"torch": "2.13.0"}, broken={"torch": "OSError: libcudart.so"})
    assert "libcudart" in one(doctor.check_torch()).detail
    assert one(doctor.check_device()).status == "failed"


def test_packages_missing_and_too_old_are_named(versions: Callable[..., None]) -> None:
    versions({"ftfy": None, "timm": "0.4.12"})
    found = {check.name: check for check in doctor.check_packages()}
    assert found["ftfy"].detail == "not installed"
    assert found["timm"].detail.startswith("0.4.12 is older than 1.")
    assert "ftfy" not in found["packages"].detail
    assert "numpy" in found["packages"].detail


def test_timm_that_does_not_load_fails(versions: Callable[..., None]) -> None:
    versions({}, broken={"timm": "RuntimeError: no nms"})
    assert any(check.name == "timm" and "no nms" in check.detail for check in doctor.check_packages())


@pytest.mark.parametrize(
    ("left", "operator", "right", "holds"),
    [
        ("2.10", ">=", "2.9", True),
        ("1.0", ">=", "1.0.0", True),
        ("2.4.0+cpu", "==", "2.4", True),
        ("2.4.1", "==", "2.4", False),
    ],
)
def test_versions_compare_as_numbers(left: str, operator: str, right: str, holds: bool) -> None:
    assert machine.satisfies(left, operator, right) is holds


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "odd"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
    ],
)
def test_container_limit_is_read(
    files: dict[str, str], quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cpu_quota() == quota


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "load", "status", "cure"),
    [
        (8, 8, None, 0.0, "ok", None),
        (8, 8, 2.0, 0.0, "warn", "export OMP_NUM_THREADS=2"),
        (8, 4, None, 0.0, "warn", "export OMP_NUM_THREADS=4"),
        (2, 2, None, 0.2, "ok", None),
        (2, 2, None, 1.7, "warn", "export OMP_NUM_THREADS=1"),
        (2, 16, 1.5, 1.7, "warn", "export OMP_NUM_THREADS=1"),
        (1, 2, None, 1.7, "ok", None),
    ],
)
def test_threads_against_cores_limit_and_load(
    threads: int,
    cores: int,
    quota: float | None,
    load: float,
    status: str,
    cure: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = types.SimpleNamespace(get_num_threads=lambda: threads)
    for name, value in {"try_import": (torch, ""), "usable_cores": cores, "cpu_quota": quota, "load": load}.items():
        monkeypatch.setattr(machine, name, lambda *_, value=value: value)
    check = one(doctor.check_threads())
    assert (check.status, check.cure) == (status, cure)


@pytest.mark.parametrize(
    ("driver", "cuda", "status"), [(True, None, "warn"), (True, "13.2", "warn"), (False, None, "ok")]
)
def test_cpu_although_there_is_a_driver_warns(
    driver: bool, cuda: str | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = types.SimpleNamespace(
        __version__="2.13.0",
        cuda=types.SimpleNamespace(is_available=lambda: False),
        version=types.SimpleNamespace(cuda=cuda),
        backends=types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: False)),
    )
    monkeypatch.setattr(machine, "try_import", lambda name: (torch, ""))
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: driver)
    assert one(doctor.check_device()).status == status


@pytest.mark.parametrize(
    ("content", "offline", "status", "cure"),
    [
        (None, False, "missing", "focus prepare weights"),
        (None, True, "missing", "focus prepare weights PATH"),
        (b"", False, "failed", "focus prepare weights --force"),
        (b"12", False, "ok", None),
    ],
)
def test_weights(
    content: bytes | None,
    offline: bool,
    status: str,
    cure: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "ViT-B-16.pt"
    if content is not None:
        file.write_bytes(content)
    module = types.ModuleType("focuscli.storage.weights")
    module.installed_weights = lambda: None if content is None else file  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "focuscli.storage.weights", module)
    if offline:
        monkeypatch.setenv("FOCUS_OFFLINE", "1")
    check = one(doctor.check_weights())
    assert (check.status, check.cure) == (status, cure)


def test_weights_are_compared_with_what_was_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from focuscli.storage import files, weights

    file = tmp_path / "x.pt"
    file.write_bytes(b"weights")
    monkeypatch.setattr(weights, "installed_weights", lambda: file)
    assert "no record" in one(doctor.check_weights()).detail
    files.write_json(tmp_path / "x.pt.json", {"sha256": files.file_sha256(file)})
    assert one(doctor.check_weights()).detail.endswith("ok)")
    file.write_bytes(b"weighty")
    check = one(doctor.check_weights())
    assert (check.status, check.cure) == ("failed", "focus prepare weights --force")
    assert "has changed" in check.detail
    (tmp_path / "x.pt.json").write_text("[")
    assert one(doctor.check_weights()).status == "ok"


def test_datasets_none_prepared() -> None:
    check = one(doctor.check_datasets())
    assert (check.status, check.cure) == ("missing", "focus prepare synthetic")


def test_datasets_sound_unreadable_and_without_images(coloured_dataset: Path, tmp_path: Path) -> None:
    schema = (coloured_dataset / "schema.toml").read_text()
    for name in ("sound", "unreadable", "detached", "unlabelled", "bare", "damaged"):
        folder = paths.datasets_dir() / name
        folder.mkdir(parents=True)
        (folder / "schema.toml").write_text(schema)
        (folder / "labels.csv").write_text("image,split,person\n")
    (paths.datasets_dir() / "unreadable" / "schema.toml").write_text("name = ")
    for name in ("detached", "bare"):
        nowhere = schema.replace(str(coloured_dataset.parent / "images"), str(tmp_path / "gone"))
        (paths.datasets_dir() / name / "schema.toml").write_text(nowhere)
    (paths.datasets_dir() / "bare" / "prepare.json").write_text('{"labels_only": true}')
    (paths.datasets_dir() / "damaged" / "prepare.json").write_text("{")
    (paths.datasets_dir() / "unlabelled" / "labels.csv").unlink()

    found = {check.name: check for check in doctor.check_datasets()}
    assert {name: check.status for name, check in found.items()} == {
        "dataset sound": "ok",
        "dataset unreadable": "failed",
        "dataset detached": "failed",
        "dataset unlabelled": "failed",
        "dataset bare": "ok",
        "dataset damaged": "failed",
    }
    assert found["dataset bare"].detail.endswith("labels only")
    assert str(tmp_path / "gone") in found["dataset detached"].detail
    assert "labels.csv" in found["dataset unlabelled"].detail


def test_runs_are_counted_and_the_latest_named() -> None:
    assert one(doctor.check_runs()).status == "missing"
    best = paths.runs_dir() / "first" / "checkpoints" / "best"
    best.mkdir(parents=True)
    (best / "state.json").write_text("{}")
    (paths.runs_dir() / "empty").mkdir()
    check = one(doctor.check_runs())
    assert check.status == "ok"
    assert check.detail.startswith("1 in ")
    assert str(best) in check.detail


def test_disk_little_space_and_not_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "not" / "yet" / "there"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=300 * 1024**3))
    assert one(doctor.check_disk()).status == "ok"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1024**3))
    assert one(doctor.check_disk()).status == "warn"
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = one(doctor.check_disk())
    assert check.status == "failed"
    assert "FOCUS_HOME" in (check.cure or "")
    assert not (tmp_path / "not").exists()


def test_offline_flag_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.check_offline()).detail.startswith("allowed")
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    assert one(doctor.check_offline()).detail.startswith("off")
