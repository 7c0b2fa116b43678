"""Folders from the environment, and names that resolve to datasets and checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from focuscli.errors import FocusError
from focuscli.storage import paths


def make_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "schema.toml").write_text("")
    return folder


def make_checkpoint(run: str, kind: str = "best", age: int = 0) -> Path:
    """A run's checkpoint, `age` seconds old."""
    folder = paths.runs_dir() / run / "checkpoints" / kind
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    moment = 1_700_000_000 - age
    os.utime(folder / "state.json", (moment, moment))
    return folder


def test_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOCUS_HOME", "~/focus data")
    monkeypatch.setenv("FOCUS_RUNS", str(tmp_path / "elsewhere"))
    assert paths.datasets_dir() == tmp_path / "focus data" / "datasets"
    assert paths.weights_dir() == tmp_path / "focus data" / "weights"
    assert paths.runs_dir() == tmp_path / "elsewhere"
    monkeypatch.setenv("FOCUS_HOME", "")
    monkeypatch.delenv("FOCUS_RUNS")
    assert paths.home().name == "focus"
    assert paths.home().is_absolute()
    assert paths.runs_dir() == Path("runs")
    for value, offline in {"1": True, "yes": True, "": False, "0": False, "False": False, "no": False}.items():
        monkeypatch.setenv("FOCUS_OFFLINE", value)
        assert paths.offline() is offline


def test_datasets_by_folder_and_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepared = make_dataset(paths.datasets_dir() / "peta")
    folder = make_dataset(tmp_path / "mine")
    assert paths.resolve_dataset(str(folder)) == folder
    make_dataset(paths.datasets_dir() / ".pa100k.0a1b.tmp")  # one that is being written
    assert paths.prepared_datasets() == [prepared]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peta").mkdir()  # A plain folder of a prepared name does not hide it.
    assert paths.resolve_dataset("peta") == prepared
    (tmp_path / "peta" / "schema.toml").write_text("")
    assert paths.resolve_dataset("peta") == Path("peta")


def test_latest_is_the_run_saved_last_whatever_its_name() -> None:
    make_checkpoint("2026-12-01_later_name", age=100)
    newest = make_checkpoint("2026-01-01_earlier_name", age=20)
    (paths.runs_dir() / "zz-without-checkpoint").mkdir()
    assert paths.resolve_checkpoint(None) == paths.resolve_checkpoint("latest") == newest
    # A run is as new as its newest checkpoint, and gives its best one.
    best = make_checkpoint("a", "best", age=50)
    make_checkpoint("a", "last", age=1)
    assert paths.resolve_checkpoint(None) == best


def test_checkpoints_by_every_kind_of_name() -> None:
    last = make_checkpoint("run", "last")
    run = paths.runs_dir() / "run"
    assert paths.resolve_checkpoint("run") == last
    best = make_checkpoint("run", "best")
    assert paths.export_path(best, dynamic=True, int8=True) == run / "export" / "model-dynamic-int8.onnx"
    assert paths.run_folder(Path("copied/best")) == Path("copied/best")
    for name in ("run", str(run)):
        assert paths.resolve_checkpoint(name) == best
    for name in (str(last), str(last / "state.json"), "run/checkpoints/last"):
        assert paths.resolve_checkpoint(name) == last


@pytest.mark.parametrize(
    ("kind", "name", "code", "problem", "hint"),
    [
        ("dataset", "{here}", 3, "neither a folder with a schema.toml", "focus prepare csv"),
        ("dataset", "pa100k", 3, 'Unknown dataset "pa100k"', "focus prepare pa100k FOLDER"),
        (
            "dataset",
            "rapv4",
            3,
            'Unknown dataset "rapv4"',
            "Did you mean rapv2? Known: market1501, my_shops, pa100k, peta",
        ),
        ("checkpoint", None, 4, "No trained model", "focus train"),
        ("checkpoint", "{here}", 3, "no state.json in it", "run folder"),
        ("checkpoint", "2026-11-23_1012_pet", 3, "No checkpoint", "Did you mean 2026-11-23_1012_peta?"),
    ],
)
def test_refusals(kind, name, code, problem, hint, tmp_path) -> None:
    make_dataset(paths.datasets_dir() / "my_shops")
    if "2026" in f"{name}{hint}":
        make_checkpoint("2026-11-23_1012_peta")
    resolve = paths.resolve_dataset if kind == "dataset" else paths.resolve_checkpoint
    with pytest.raises(FocusError) as caught:
        resolve(name and name.replace("{here}", str(tmp_path)))
    assert caught.value.exit_code == code
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")


def test_paths_and_datasets_in_hints_survive_a_cd_and_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.argument("my runs/it's") == f"'{tmp_path}/my runs/it'\"'\"'s'"
    assert paths.dataset_argument(paths.datasets_dir() / "peta") == "peta"
    assert paths.dataset_argument(paths.datasets_dir() / "my set") == "'my set'"
    assert paths.dataset_argument(Path("mine")) == f"{tmp_path}/mine"
    monkeypatch.setenv("FOCUS_HOME", "here")
    assert paths.dataset_argument(paths.datasets_dir() / "peta") == f"{tmp_path}/here/datasets/peta"
    monkeypatch.setattr(paths, "_once", None)
    paths.use_home(str(tmp_path / "once"))
    assert paths.dataset_argument(paths.datasets_dir() / "peta") == f"{tmp_path}/once/datasets/peta"
