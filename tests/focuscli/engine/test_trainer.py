"""The training loop: it learns, repeats itself exactly, resumes exactly, and stops cleanly."""

from __future__ import annotations

import contextlib
import json
import shutil
from unittest.mock import Mock

import pytest
import torch

from focuscli.config import LossConfig
from focuscli.data.folder import read_folder
from focuscli.engine.checkpoint import read_checkpoint, saved_config
from focuscli.engine.distributed import WorkerLost
from focuscli.engine.run import Run
from focuscli.engine.trainer import StepEvent, collapsed_losses
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import CheckFailed, InputError


def finish(run, stop_after=None):
    """Consume a run; with `stop_after` ask it to stop after so many steps."""
    events = []
    steps = [0]
    for event in run.train(stop=lambda: stop_after is not None and steps[0] >= stop_after):
        events.append(event)
        steps[0] += isinstance(event, StepEvent)
    return events


def bits(folder, name="last"):
    """The tensor files of a checkpoint."""
    return {file.name: file.read_bytes() for file in (folder / "checkpoints" / name).glob("*.safetensors")}


def test_a_run_learns_and_leaves_everything_behind(tmp_path, coloured_dataset, micro_config):
    config = micro_config(train__epochs=12, train__learning_rate=3e-3)
    run = Run(tmp_path / "run", config, coloured_dataset, None)
    records = [event for event in finish(run) if not isinstance(event, StepEvent)]
    assert [record["epoch"] for record in records] == list(range(1, 13))
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert max(record["val"]["mA"] for record in records) > 0.9
    total = sum(records[-1][name] for name in ("v2t", "t2v", "lsim", "racl"))
    assert records[-1]["loss"] == pytest.approx(total, rel=1e-5)

    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == records
    assert list(run.folder.glob("events.*"))
    assert saved_config(run.folder) == config
    assert json.loads((run.folder / "env.json").read_text())["weights"] == "from scratch"
    state = read_checkpoint(run.folder / "checkpoints" / "best").state
    best = max(records, key=lambda record: record["val"]["mA"])
    assert state["best"]["epoch"] == best["epoch"]
    assert state["metrics"] == best["val"]
    assert set(state["thresholds"]) == {"RedHat", "Bright", "Dark"}
    assert state["data"]["fingerprint"] == read_folder(coloured_dataset).fingerprint
    assert state["schema"]["name"] == "coloured"
    assert state["weights"] == "from scratch"


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path, coloured_dataset, micro_config):
    """With crops cached in memory or not."""
    for name, seed, cache in (("a", 0, "memory"), ("b", 0, "none"), ("c", 1, "memory")):
        config = micro_config(train__seed=seed, train__epochs=1, data__cache=cache)
        finish(Run(tmp_path / name, config, coloured_dataset, None))
    first, second, other = (bits(tmp_path / name) for name in "abc")
    assert first == second != other


@pytest.mark.parametrize(
    ("stop_after", "method", "lost"), [(1, "focus", False), (5, "poar", False), (7, "vtb", False), (5, "focus", True)]
)
def test_a_stopped_run_goes_on_to_the_same_bits(
    tmp_path, coloured_dataset, micro_config, monkeypatch, stop_after, method, lost
):
    """Five steps an epoch: stopped in the middle of an epoch, at its end, and in the next; VTB has a batch norm.

    Or another process is lost while the epoch is evaluated.
    """
    config = micro_config(train__save_every_steps=3, model__method=method, data__complements=method != "vtb")
    finish(Run(tmp_path / "whole", config, coloured_dataset, None))
    parts = Run(tmp_path / "parts", config, coloured_dataset, None)
    if lost:
        monkeypatch.setattr(parts.trainer, "_evaluate", Mock(side_effect=WorkerLost("gone")))
    with pytest.raises(WorkerLost) if lost else contextlib.nullcontext():
        finish(parts, stop_after=None if lost else stop_after)
    assert not lost or parts.save_lost() == stop_after
    assert read_checkpoint(tmp_path / "parts/checkpoints/last").state["step"] == stop_after
    resumed = Run(tmp_path / "parts", config, coloured_dataset, None)
    assert resumed.resumed_from == stop_after
    finish(resumed)
    for name in ("last", "best"):
        assert bits(tmp_path / "whole", name) == bits(tmp_path / "parts", name)
    whole, parts = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert [json.loads(x) | {"seconds": 0} for x in whole] == [json.loads(x) | {"seconds": 0} for x in parts]
    # What has been saved is not saved again.
    before = (resumed.folder / "checkpoints/last/state.json").stat().st_mtime_ns
    assert resumed.save_lost() == 10
    assert (resumed.folder / "checkpoints/last/state.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("part", ["rlp", "mgmt", "avfe"])
def test_every_switch_trains(tmp_path, coloured_dataset, micro_config, part):
    run = Run(tmp_path, micro_config(**{f"model__{part}": False, "train__epochs": 1}), coloured_dataset, None)
    record = finish(run)[-1]
    assert (record["lsim"] == 0) is (part == "mgmt")
    assert (record["racl"] == 0) is (part in ("mgmt", "avfe"))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, coloured_dataset, micro_config):
    run = Run(tmp_path, micro_config(train__epochs=3), coloured_dataset, None)
    events = run.train()
    with pytest.raises(CheckFailed, match="epoch 2, step 1") as caught:
        for event in events:
            if not isinstance(event, StepEvent):
                with torch.no_grad():
                    run.trainer.model.clip.visual.proj.fill_(float("nan"))
    assert "--lr" in caught.value.hint
    assert read_checkpoint(tmp_path / "checkpoints/last").state["step"] == 5


def test_patience_ends_a_run_early(tmp_path, coloured_dataset, micro_config):
    config = micro_config(train__epochs=9, train__patience=2, train__learning_rate=1e-9)
    assert finish(Run(tmp_path, config, coloured_dataset, None))[-1]["epoch"] < 9


def edited(dataset, folder, old, new, count):
    """A copy of a dataset folder with replacements in its labels.csv."""
    shutil.copytree(dataset, folder)
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace(old, new, count))
    return folder


def test_undefined_metrics_are_null_and_changed_data_is_refused_on_resume(tmp_path, coloured_dataset, micro_config):
    one_val = edited(coloured_dataset, tmp_path / "data", ",val,", ",test,", 15)  # no attribute has both classes
    run = Run(tmp_path / "run", micro_config(train__epochs=1), one_val, None)
    finish(run)
    record = json.loads((run.folder / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert record["val"]["mA"] is None
    assert run.trainer.best == {"epoch": 1, "value": None}
    with pytest.raises(InputError, match="has changed"):
        Run(tmp_path / "run", micro_config(train__epochs=1), coloured_dataset, None)


def test_val_is_held_out_by_person_where_there_is_none(coloured_dataset, micro_config, tmp_path):
    dataset = read_folder(edited(coloured_dataset, tmp_path / "noval", ",val,", ",train,", -1))
    data = prepare_training_data(dataset, micro_config().data, seed=0)
    assert len(data.train) + len(data.val) == 56
    assert 4 <= len(data.val) <= 8
    assert not set(dataset.persons[data.train]) & set(dataset.persons[data.val])
    assert "held out" in data.val_note


def test_which_losses_have_collapsed():
    first = {"v2t": 3.0, "t2v": 4.0, "lsim": 2.0, "racl": 4.0, "loss": 13.0}
    low = {"v2t": 0.5, "t2v": 0.08, "lsim": 0.0, "racl": 0.08, "loss": 0.1}
    weights = LossConfig()
    assert collapsed_losses(first, [low, low], weights) == ["t2v", "racl"]
    assert collapsed_losses(first, [low, {**low, "racl": 0.081}], weights) == ["t2v"]
    assert collapsed_losses(first, [low], weights.model_copy(update={"t2v": 0.0, "racl": 0.0})) == []
    assert collapsed_losses({"v2t": 0.0}, [{"v2t": 0.0}], weights) == ["v2t"]
