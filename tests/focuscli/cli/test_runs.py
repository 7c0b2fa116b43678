"""`focus runs`: what was trained, how far it is, how good it is."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from focuscli.storage import paths


def test_runs_are_listed_latest_first_with_what_they_reached(focus, trained_run):
    first = shutil.copytree(trained_run, paths.runs_dir() / "first")
    (paths.runs_dir() / "started").mkdir()
    shutil.copy(first / "config.toml", paths.runs_dir() / "started")
    state = json.loads((first / "checkpoints/last/state.json").read_text())
    for number, file in enumerate((first / "checkpoints/last/state.json", paths.runs_dir() / "started/config.toml")):
        os.utime(file, (number + 4e9, number + 4e9))
    started, done = focus("runs", "--json").json["runs"]
    assert started.items() >= {"name": "started", "epochs_done": 0, "epochs": 10, "best": None}.items()
    assert done.items() >= {"method": "focus", "dataset": "coloured", "epochs_done": 10, "epochs": 10}.items()
    assert done.items() >= {"select": "mA", "best": state["best"]["value"], "weights": "from scratch"}.items()
    rows = focus("runs").stdout.splitlines()[1:]
    assert [row.split()[:6] for row in rows] == [
        ["started", "focus", "coloured", "0", "of", "10"],
        ["first", "focus", "coloured", "10", "of", "10"],
    ]
    assert f"mA {100 * done['best']:.2f}" in rows[1]


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 9999, b"\xff"])
def test_a_damaged_run_is_named(focus, content):
    file = paths.runs_dir() / "broken/checkpoints/last/state.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "state.json" in focus("runs", "--json").json["runs"][0]["problem"]
    shown = focus("runs")
    assert (shown.code, shown.stdout, shown.stderr[:20]) == (0, "", "! broken is damaged:")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state["files"].update(model="gone-7.safetensors"), "gone-7.safetensors is missing"),
        (lambda state: state["best"].update(value=float("nan")), "best.value"),
        (lambda state: state["config"]["train"].update(epochs="many"), "config.train.epochs"),
        (lambda state: state.update(history=7), "history"),
    ],
)
def test_a_run_whose_state_is_not_as_written_is_named(focus, trained_run, change, words):
    file = shutil.copytree(trained_run, paths.runs_dir() / "changed") / "checkpoints/last/state.json"
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))
    assert words in focus("runs", "--json").json["runs"][0]["problem"]
