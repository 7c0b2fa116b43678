from __future__ import annotations

import importlib.metadata
import json
import sys
import types
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from focuscli.storage import files, paths, weights
from focuscli.tools import doctor, machine


def one(result: doctor.Result) -> doctor.Check:
    return doctor.Check("", *result)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend versions of packages, what torchvision asks of torch, and modules that do not load."""

    def pretend(installed: dict[str, str | None], wanted: str = "", broken: dict[str, str] | None = None) -> None:
        real_version, real_requires, missing = machine.installed_version, importlib.metadata.requires, broken or {}
        monkeypatch.setattr(machine, "installed_version", lambda name: installed.get(name, real_version(name)))
        monkeypatch.setattr(
            importlib.metadata, "requires", lambda name: [wanted] if name == "torchvision" else real_requires(name)
        )
        monkeypatch.setattr(
            machine,
            "try_import",
            lambda name: (None, missing[name]) if name in missing else (types.SimpleNamespace(), ""),
        )

    return pretend


def test_all_checks_run_here_and_can_be_written_as_json() -> None:
    found = doctor.run_checks()
    names = [check.name for check in found]
    assert {"python", "torch", "torchvision", "packages", "device", "cpu threads", "disk"} <= set(names)
    assert [check for check in found if "itself failed" in check.detail] == []
    assert all(check.fix for check in found if check.status in ("warn", "failed"))
    assert json.loads(json.dumps([asdict(check) for check in found]))


def test_a_check_that_raises_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Result:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(doctor, "CHECKS", {"runs": broken, "downloads": doctor.check_offline})
    found = doctor.run_checks()
    assert [check.status for check in found] == ["failed", "ok"]
    assert "RuntimeError: no such thing" in found[0].detail


def test_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("2.13.0", None, "", "failed"),
    ],
)
def test_torchvision_is_compared_with_torch(
    versions: Callable[..., None], torch: str, torchvision: str | None, wanted: str, status: str
) -> None:
    versions({"torch": torch, "torchvision": torchvision}, wanted)
    check = one(doctor.check_torchvision())
    assert check.status == status
    assert torchvision is None or torch in check.detail


def test_torchvision_that_does_not_load_names_both_versions_reason_and_fix(versions: Callable[..., None]) -> None:
    problem = "RuntimeError: operator torchvision::nms does not exist"
    versions({"torch": "2.13.0+cpu", "torchvision": "0.27.0"}, "torch (==2.12.0)", {"torchvision": problem})
    check = one(doctor.check_torchvision())
    assert check.status == "failed"
    for words in ("0.27.0", "2.13.0+cpu", "built for torch ==2.12.0", problem):
        assert words in check.detail
    assert check.fix is not None
    assert check.fix.endswith("torch torchvision --index-url https://download.pytorch.org/whl/cpu")


def test_packages_that_are_missing_too_old_or_do_not_load(versions: Callable[..., None]) -> None:
    versions({"ftfy": None, "pillow": "0.4.12"}, broken={"timm": "RuntimeError: no nms", "torch": "OSError: libcudart"})
    check = one(doctor.check_packages())
    assert check.status == "failed"
    assert "ftfy is not installed; " in check.detail
    assert "pillow is 0.4.12, >=10.1 is required" in check.detail
    assert check.fix is not None
    assert check.fix.endswith("--upgrade 'ftfy>=6.1' 'pillow>=10.1'")
    assert "does not load: RuntimeError: no nms" in check.detail
    assert "libcudart" in one(doctor.check_torch()).detail
    assert one(doctor.check_device()).status == "failed"


@pytest.mark.parametrize(
    ("limits", "quota"),
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
    limits: dict[str, str], quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cpu_quota() == quota


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "load", "fix"),
    [
        (8, 8, None, 0.0, None),
        (8, 8, 2.0, 0.0, "export OMP_NUM_THREADS=2"),
        (8, 4, None, 0.0, "export OMP_NUM_THREADS=4"),
        (2, 2, None, 0.2, None),
        (2, 2, None, 1.7, "export OMP_NUM_THREADS=1"),
        (2, 16, 1.5, 1.7, "export OMP_NUM_THREADS=1"),
        (1, 2, None, 1.7, None),
    ],
)
def test_threads_against_cores_limit_and_load(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, quota: float | None, load: float, fix: str | None
) -> None:
    torch = types.SimpleNamespace(get_num_threads=lambda: threads)
    for name, value in {"try_import": (torch, ""), "usable_cores": cores, "cpu_quota": quota, "load": load}.items():
        monkeypatch.setattr(machine, name, lambda *_, value=value: value)
    check = one(doctor.check_threads())
    assert (check.status, check.fix) == ("warn" if fix else "ok", fix)


@pytest.mark.parametrize(
    ("driver", "cuda", "status"), [(True, None, "warn"), (True, "13.2", "warn"), (False, None, "ok")]
)
def test_cpu_although_there_is_a_driver_warns(
    driver: bool, cuda: str | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    no = types.SimpleNamespace(is_available=lambda: False)
    torch = types.SimpleNamespace(
        __version__="2.13.0", cuda=no, version=types.SimpleNamespace(cuda=cuda), backends=types.SimpleNamespace(mps=no)
    )
    monkeypatch.setattr(machine, "try_import", lambda name: (torch, ""))
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: driver)
    assert one(doctor.check_device()).status == status


@pytest.mark.parametrize(
    ("content", "record", "offline", "status", "words", "fix"),
    [
        (None, None, False, "missing", "no CLIP weights", "focus prepare weights"),
        (None, None, True, "missing", "no CLIP weights", "focus prepare weights PATH"),
        (b"", None, False, "failed", "is empty", "focus prepare weights --force"),
        (b"weights", None, False, "ok", "no record", None),
        (b"weights", "[", False, "ok", "no record", None),
        (b"weights", b"weights", False, "ok", "ok)", None),
        (b"weighty", b"weights", False, "failed", "has changed", "focus prepare weights --force"),
    ],
)
def test_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    record: bytes | str | None,
    offline: bool,
    status: str,
    words: str,
    fix: str | None,
) -> None:
    file, recorded = tmp_path / "x.pt", tmp_path / "x.pt.json"
    if isinstance(record, bytes):
        file.write_bytes(record)
        files.write_json(recorded, {"sha256": files.file_sha256(file)})
    elif record is not None:
        recorded.write_text(record)
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(weights, "installed_weights", lambda: None if content is None else file)
    if offline:
        monkeypatch.setenv("FOCUS_OFFLINE", "1")
    check = one(doctor.check_weights())
    assert (check.status, check.fix) == (status, fix)
    assert words in check.detail


def test_datasets(coloured_dataset: Path, tmp_path: Path) -> None:
    check = one(doctor.check_datasets())
    assert (check.status, check.fix) == ("missing", "focus prepare synthetic")
    schema = (coloured_dataset / "schema.toml").read_text()
    detached = schema.replace(str(coloured_dataset.parent / "images"), str(tmp_path / "gone"))
    contents: dict[str, tuple[str, str, dict[str, Any]]] = {  # schema.toml, labels.csv and prepare.json
        "sound": (schema, "ok", {"labels.csv": "image,split,person\n"}),
        "unreadable": ("name = ", "failed", {"labels.csv": "image,split,person\n"}),
        "detached": (detached, "failed", {"labels.csv": "image,split,person\n"}),
        "unlabelled": (schema, "failed", {}),
        "bare": (detached, "ok", {"labels.csv": "", "prepare.json": '{"labels_only": true}'}),
        "damaged": (schema, "failed", {"labels.csv": "", "prepare.json": "{"}),
    }
    for name, (text, _, others) in contents.items():
        folder = paths.datasets_dir() / name
        folder.mkdir(parents=True)
        for file, content in ({"schema.toml": text} | others).items():
            (folder / file).write_text(content)
    found = {name: one(doctor.check_dataset(paths.datasets_dir() / name)) for name in contents}
    assert {f"dataset {name}" for name in contents} <= {check.name for check in doctor.run_checks()}
    assert {name: check.status for name, check in found.items()} == {name: row[1] for name, row in contents.items()}
    assert found["bare"].detail.endswith("labels only")
    assert str(tmp_path / "gone") in found["detached"].detail
    assert "labels.csv" in found["unlabelled"].detail


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


def test_disk_with_little_space_and_not_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "not" / "yet" / "there"))
    for gib, status in ((300, "ok"), (1, "warn")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, gib=gib: types.SimpleNamespace(free=gib * 1024**3))
        assert one(doctor.check_disk()).status == status
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = one(doctor.check_disk())
    assert check.status == "failed"
    assert "FOCUS_HOME" in (check.fix or "")
    assert not (tmp_path / "not").exists()


def test_offline_flag_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.check_offline()).detail.startswith("allowed")
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    assert one(doctor.check_offline()).detail.startswith("off")
