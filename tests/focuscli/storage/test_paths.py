from __future__ import annotations

import os
from pathlib import Path

import pytest

from focuscli.errors import InputError, RequirementError
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


def test_home_and_runs_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FOCUS_RUNS", str(tmp_path / "elsewhere"))
    assert paths.datasets_dir() == tmp_path / "home" / "datasets"
    assert paths.weights_dir() == tmp_path / "home" / "weights"
    assert paths.runs_dir() == tmp_path / "elsewhere"


@pytest.mark.parametrize("value", [None, ""])
def test_home_and_runs_without_environment(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    for name in ("FOCUS_HOME", "FOCUS_RUNS"):
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert paths.home().name == "focus"
    assert paths.home().is_absolute()
    assert paths.runs_dir() == Path("runs")


def test_tilde_is_the_user_s_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOCUS_HOME", "~/focus data")
    assert paths.home() == tmp_path / "focus data"


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("", False), ("0", False), ("False", False), ("no", False)]
)
def test_offline_flag(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("FOCUS_OFFLINE", value)
    assert paths.offline() is expected


def test_dataset_by_folder_and_by_name(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "mine")
    prepared = make_dataset(paths.datasets_dir() / "peta")
    assert paths.resolve_dataset(str(folder)) == folder
    assert paths.resolve_dataset("peta") == prepared


def test_dataset_folder_here_goes_before_the_prepared_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_dataset(tmp_path / "peta")
    make_dataset(paths.datasets_dir() / "peta")
    monkeypatch.chdir(tmp_path)
    assert paths.resolve_dataset("peta") == Path("peta")


def test_plain_folder_of_a_prepared_name_does_not_hide_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "peta").mkdir()
    prepared = make_dataset(paths.datasets_dir() / "peta")
    monkeypatch.chdir(tmp_path)
    assert paths.resolve_dataset("peta") == prepared


def test_folder_without_schema_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no schema\.toml") as caught:
        paths.resolve_dataset(str(tmp_path))
    assert "focus prepare csv" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "command"), [("peta", "focus prepare peta FOLDER"), ("synthetic", "focus prepare synthetic")]
)
def test_known_dataset_that_is_not_prepared_names_the_command(name: str, command: str) -> None:
    with pytest.raises(InputError, match=f"Dataset {name} is not prepared") as caught:
        paths.resolve_dataset(name)
    assert str(paths.datasets_dir() / name) in caught.value.problem
    assert (caught.value.hint or "").endswith(command)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("typed", "meant"), [("rapv4", "rapv2"), ("pet", "peta"), ("my_shop", "my_shops")])
def test_close_dataset_names_are_proposed(typed: str, meant: str) -> None:
    make_dataset(paths.datasets_dir() / "my_shops")
    with pytest.raises(InputError, match=f'Unknown dataset "{typed}"') as caught:
        paths.resolve_dataset(typed)
    assert caught.value.hint == f"Did you mean {meant}?"
    assert "my_shops, pa100k, peta" in caught.value.problem


def test_dataset_name_close_to_nothing_gets_no_proposal() -> None:
    with pytest.raises(InputError) as caught:
        paths.resolve_dataset("zzzzzz")
    assert "Did you mean" not in (caught.value.hint or "")


@pytest.mark.parametrize("name", [None, "latest"])
def test_no_run_at_all_is_a_missing_requirement(name: str | None) -> None:
    with pytest.raises(RequirementError, match="No trained model") as caught:
        paths.resolve_checkpoint(name)
    assert "focus train" in (caught.value.hint or "")


@pytest.mark.parametrize("name", [None, "latest"])
def test_latest_run_is_the_one_saved_last_whatever_its_name(name: str | None) -> None:
    make_checkpoint("2026-12-01_later_name", age=100)
    newest = make_checkpoint("2026-01-01_earlier_name", age=1)
    (paths.runs_dir() / "zz-without-checkpoint").mkdir()
    assert paths.resolve_checkpoint(name) == newest


def test_run_counts_by_its_newest_checkpoint_and_gives_its_best() -> None:
    best = make_checkpoint("a", "best", age=50)
    make_checkpoint("a", "last", age=1)
    make_checkpoint("b", "best", age=20)
    assert paths.resolve_checkpoint(None) == best


def test_checkpoint_by_every_kind_of_name() -> None:
    best = make_checkpoint("run", "best")
    last = make_checkpoint("run", "last")
    run = paths.runs_dir() / "run"
    assert paths.resolve_checkpoint("run") == best
    assert paths.resolve_checkpoint(str(run)) == best
    assert paths.resolve_checkpoint(str(last)) == last
    assert paths.resolve_checkpoint(str(last / "state.json")) == last
    assert paths.resolve_checkpoint("run/checkpoints/last") == last


def test_run_without_best_gives_last() -> None:
    last = make_checkpoint("run", "last")
    assert paths.resolve_checkpoint("run") == last


def test_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        paths.resolve_checkpoint(str(tmp_path))


def test_close_run_names_are_proposed() -> None:
    make_checkpoint("2026-11-23_1012_peta")
    with pytest.raises(InputError, match="No checkpoint") as caught:
        paths.resolve_checkpoint("2026-11-23_1012_pet")
    assert caught.value.hint == "Did you mean 2026-11-23_1012_peta?"


def test_unknown_run_lists_what_there_is() -> None:
    with pytest.raises(InputError) as caught:
        paths.resolve_checkpoint("zzzz")
    assert "none" in (caught.value.hint or "")
    make_checkpoint("abc")
    with pytest.raises(InputError) as caught:
        paths.resolve_checkpoint("zzzz")
    assert "abc" in (caught.value.hint or "")
