"""Which runs count as the same."""

from __future__ import annotations

import pytest

from focuscli.engine.checkpoint import save_checkpoint
from focuscli.tools.reproduce.reuse import find_run, identity, run_folders

ORIGIN = "from scratch"


def save(folder, config, *, epoch, best_epoch=1, history=(), best=True):
    """A run folder with the states of its checkpoints alone."""
    state = {
        "step": 8,
        "epoch": epoch,
        "history": list(history),
        "best": {"epoch": best_epoch, "value": 0.5},
        "config": config.model_dump(mode="json"),
        "data": {"fingerprint": "data"},
        "weights": ORIGIN,
    }
    for name in ("last", "best") if best else ("last",):
        save_checkpoint(folder / "checkpoints" / name, {}, state)
    return folder


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"train__device": "cuda"}, True),
        ({"data__dataset": "/elsewhere"}, True),
        ({"train__threads": 2}, True),
        ({"train__seed": 1}, False),
        ({"train__epochs": 3}, False),
        ({"model__rlp": False}, False),
        ({"data__train_split": "trainval"}, False),
    ],
)
def test_only_what_changes_the_outcome_makes_another_run(micro_config, change, same):
    one, other = (identity(micro_config(**changes), "data", ORIGIN) for changes in ({}, change))
    assert (one == other) is same


def test_other_data_and_other_weights_make_another_run(micro_config):
    config = micro_config()
    assert len({identity(config, "a", "x"), identity(config, "b", "x"), identity(config, "a", "y")}) == 3


def test_finished_unfinished_and_new(micro_config, tmp_path):
    config = micro_config()  # 2 epochs
    wanted = identity(config, "data", ORIGIN)
    assert find_run(tmp_path / "none", [], wanted).state == "new"
    half = save(tmp_path / "half", config, epoch=1.5)
    assert find_run(half, [], wanted).state == "unfinished"
    whole = save(tmp_path / "whole", config, epoch=2.0)
    assert find_run(whole, [], wanted).state == "finished"
    assert find_run(whole, [], identity(config, "other", ORIGIN)).state == "new"
    assert find_run(save(tmp_path / "no-best", config, epoch=2.0, best=False), [], wanted).state == "unfinished"
    # a finished run elsewhere is better than an unfinished one here; an unfinished one elsewhere is not touched
    assert find_run(half, [whole], wanted).folder == whole
    assert find_run(tmp_path / "none", [half], wanted).folder == tmp_path / "none"


def test_a_run_that_lost_its_patience_is_finished(micro_config, tmp_path):
    config = micro_config(train__epochs=9, train__patience=2)
    history = [{"epoch": epoch, "val": {}} for epoch in (1, 2, 3)]
    folder = save(tmp_path / "run", config, epoch=3.0, history=history)
    assert find_run(folder, [], identity(config, "data", ORIGIN)).state == "finished"
    folder = save(tmp_path / "two", config, epoch=2.0, history=history[:2])
    assert find_run(folder, [], identity(config, "data", ORIGIN)).state == "unfinished"


def test_a_damaged_checkpoint_is_no_run(micro_config, tmp_path):
    folder = save(tmp_path / "run", micro_config(), epoch=2.0)
    (folder / "checkpoints" / "last" / "state.json").write_text("{")
    assert find_run(folder, [], identity(micro_config(), "data", ORIGIN)).state == "new"


def test_runs_are_found_at_both_depths(micro_config, tmp_path):
    one = save(tmp_path / "2026_peta", micro_config(), epoch=2.0)
    two = save(tmp_path / "reproduce-table1" / "runs" / "x", micro_config(), epoch=2.0)
    assert run_folders(tmp_path) == [one, two]
