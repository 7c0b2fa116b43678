"""Several processes do what one does: real processes over gloo on the CPU, small models."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import given as example
from hypothesis import strategies as st

from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.distributed import SINGLE, ProcessGroup, WorkerLost, join, read_environment
from focuscli.errors import UsageError

TOLERANCE = 1e-5


@example(st.integers(0, 500), st.integers(1, 64))
def test_shards_cover_everything_once_in_order(count, size):
    items = list(range(count))
    parts = [ProcessGroup(rank, size).shard(items) for rank in range(size)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


GIVEN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_torchruns_variables():
    assert read_environment({"MASTER_ADDR": "set by a cluster", "MASTER_PORT": "x", "RANK": ""}) == SINGLE
    assert read_environment(GIVEN) == ProcessGroup(3, 4, 1, 4)
    assert read_environment(GIVEN | {"LOCAL_WORLD_SIZE": "2"}) == ProcessGroup(3, 4, 1, 2)
    assert (SINGLE.is_main, read_environment(GIVEN).is_main) == (True, False)


SENSELESS = (
    "RANK=4 RANK=0 RANK=first RANK=-1 WORLD_SIZE=0 WORLD_SIZE=-2 LOCAL_RANK=1.5 LOCAL_RANK= MASTER_ADDR= MASTER_PORT= "
    "MASTER_PORT=65536 MASTER_PORT=0 LOCAL_WORLD_SIZE=1 LOCAL_WORLD_SIZE=5 LOCAL_WORLD_SIZE=-1"
)


@pytest.mark.parametrize("given", SENSELESS.split())
def test_variables_that_make_no_sense_are_shown(given):
    name, _, value = given.partition("=")
    with pytest.raises(UsageError, match="do not fit together") as caught:
        read_environment(GIVEN | {name: value})
    assert "torchrun --nproc-per-node" in caught.value.hint
    assert (given in caught.value.problem) is bool(value)


def test_workers_that_do_not_come_are_missed(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "0")
    with pytest.raises(WorkerLost, match=r"Worker 0 of 2 cannot reach the others at 127.0.0.1:0"):
        join(ProcessGroup(0, 2, 0, 2), timeout=timedelta(seconds=1))


RATE = {"train__learning_rate": 1e-4}
"""The recipe's. AdamW divides gradients by their size: where one is as small as its rounding, so is a part of the step."""
FULL = {"train__max_grad_norm": 0.5, "augment__erase": 0.5, "augment__brightness": 0.4}


@pytest.mark.parametrize(
    ("parts", "changes"),
    [
        ([(2, 2)], {**FULL, "train__gradient_accumulation_steps": 2, "model__rlp": False, "data__cache": "none"}),
        ([(4, 5)], {**FULL, "train__save_every_steps": 2, "train__gradient_checkpointing": True}),
        ([(2, 5)], {"model__method": "vtb", "data__complements": False, "model__mgmt": False, "model__avfe": False}),
        ([(2, 5)], {"model__method": "poar", "model__mgmt": False, "model__avfe": False}),
        ([(1, 2), (4, 4), (2, 10)], {"train__epochs": 2}),
    ],
)
def test_several_processes_train_as_one(workers, tmp_path, coloured_dataset, micro_config, parts, changes):
    """Each part of a run with its number of processes and its last step; only its last process asks to stop there."""
    config = micro_config(**{"train__epochs": 1, **RATE, **changes}).model_dump(mode="json")
    for name, count, step in [("one", 1, parts[-1][1]), *(("several", *part) for part in parts)]:
        (tmp_path / name).mkdir(exist_ok=True)
        outcomes = workers(count, "train", tmp_path / name, config, coloured_dataset, step)
        assert {(code, out.split()[-1]) for code, out, _ in outcomes} == {(0, str(step))}, outcomes
    assert_alike(tmp_path / "one", tmp_path / "several")


def assert_alike(one: Path, other: Path) -> None:
    """The same losses and metrics, gradients of each step, and tensors of both checkpoints, but for rounding."""
    records = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, other)]
    assert len(records[0]) == len(records[1]) > 0
    for first, second in zip(*records, strict=True):
        first.pop("seconds"), second.pop("seconds")
        assert first.pop("val") == pytest.approx(second.pop("val"), abs=TOLERANCE)
        assert first == pytest.approx(second, abs=TOLERANCE)
    steps = sorted(path.name for path in one.glob("gradients-*"))
    assert steps
    pairs = [(torch.load(one / step), torch.load(other / step)) for step in steps]
    for name in ("last", "best"):
        first, second = (read_checkpoint(run / "checkpoints" / name) for run in (one, other))
        assert first.state["step"] == second.state["step"]
        assert first.state["best"]["epoch"] == second.state["best"]["epoch"]
        assert first.state["thresholds"] == pytest.approx(second.state["thresholds"], abs=1e-4)
        pairs += [(first.tensors(kind), second.tensors(kind)) for kind in first.state["files"]]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert len(ours) > 20
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
