"""Which runs count as the same."""

from __future__ import annotations

import json
from pathlib import Path

from focuscli.engine.checkpoint import save_checkpoint
from focuscli.tools.reproduce.execute import find_run
from focuscli.tools.seeds import run_identity

STATE = json.loads((Path(__file__).parents[3] / "fixtures/run-0.1.0/checkpoints/last/state.json").read_text())
ORIGIN = "from scratch"


def identity(config, data="data", weights=ORIGIN, **options):
    return run_identity(config.model_dump(mode="json"), data, weights, **options)


def save(folder, config, *, epoch, best_epoch=1, history=(), best=True):
    """A run folder with the states of its checkpoints alone."""
    state = {
        **STATE,
        "step": 8,
        "epoch": epoch,
        "history": list(history),
        "best": {"epoch": best_epoch, "value": 0.5},
        "config": config.model_dump(mode="json"),
        "data": {**STATE["data"], "fingerprint": "data"},
        "weights": ORIGIN,
    }
    for name in ("last", "best") if best else ("last",):
        save_checkpoint(folder / "checkpoints" / name, {}, state)
    return folder


def test_only_what_changes_the_outcome_makes_another_run(micro_config):
    usual = identity(micro_config())
    for same in ({"train__device": "cuda"}, {"data__dataset": "/elsewhere"}, {"train__threads": 2}):
        assert identity(micro_config(**same)) == usual
    changes = ({"train__seed": 1}, {"train__epochs": 3}, {"model__rlp": False}, {"data__train_split": "trainval"})
    others = [identity(micro_config(**change)) for change in changes]
    others += [identity(micro_config(), "other data"), identity(micro_config(), weights="other weights")]
    assert len({usual, *others}) == 7
    assert len({identity(micro_config(train__seed=seed), ignore={"train.seed"}) for seed in (1, 2)}) == 1


def test_finished_unfinished_and_new(micro_config, tmp_path, monkeypatch):
    config = micro_config()  # 2 epochs
    wanted = identity(config)
    assert find_run(tmp_path / "none", wanted) == (tmp_path / "none", "new")
    half = save(tmp_path / "half", config, epoch=1.5)
    assert find_run(half, wanted)[1] == "unfinished"
    whole = save(tmp_path / "whole", config, epoch=2.0)
    assert find_run(whole, wanted)[1] == "finished"
    assert find_run(whole, identity(config, "other"))[1] == "new"
    assert find_run(save(tmp_path / "no-best", config, epoch=2.0, best=False), wanted)[1] == "unfinished"
    damaged = save(tmp_path / "damaged", config, epoch=2.0)
    (damaged / "checkpoints" / "last" / "state.json").write_text("{")
    assert find_run(damaged, wanted)[1] == "new"
    patient = micro_config(train__epochs=9, train__patience=2)
    history = [{"epoch": epoch, "step": epoch, "val": {}} for epoch in (1, 2, 3)]
    stopped = save(tmp_path / "stopped", patient, epoch=3.0, history=history)
    assert find_run(stopped, identity(patient))[1] == "finished"
    waiting = save(tmp_path / "waiting", patient, epoch=2.0, history=history[:2])
    assert find_run(waiting, identity(patient))[1] == "unfinished"
    # A finished run elsewhere is better than an unfinished one here; an unfinished one elsewhere is not touched.
    for place in ("run", "reproduce-table1/runs/run"):
        runs = tmp_path / place.replace("/", "-")
        monkeypatch.setenv("FOCUS_RUNS", str(runs))
        save(runs / "unfinished", config, epoch=1.5)
        assert find_run(tmp_path / "none", wanted)[0] == tmp_path / "none"
        other = save(runs / place, config, epoch=2.0)
        assert find_run(half, wanted) == (other, "finished")
