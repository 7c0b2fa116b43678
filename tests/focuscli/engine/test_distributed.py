"""Several processes do what one does: real processes over gloo on the CPU, small models."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.distributed import SINGLE, ProcessGroup, WorkerLost, block, read_environment
from focuscli.engine.replicas import check_divides
from focuscli.engine.run import Run
from focuscli.errors import UsageError

TOLERANCE = 1e-5


@given(st.integers(0, 500), st.integers(1, 64))
def test_blocks_cover_everything_once_in_order(count, size):
    items = list(range(count))
    parts = [items[block(count, rank, size)] for rank in range(size)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == [ProcessGroup(rank, size).shard(items) for rank in range(size)]


@given(st.integers(2, 300), st.integers(1, 16))
def test_a_batch_divides_or_is_refused_with_sizes_that_do(batch, processes):
    if batch % processes == 0:
        check_divides(batch, processes)
        return
    with pytest.raises(UsageError, match=f"{batch} images does not divide over {processes}") as caught:
        check_divides(batch, processes)
    for size in caught.value.hint.rsplit("use ", 1)[1].rstrip(".").split(" or "):
        check_divides(int(size), processes)


def test_a_group_of_one_asks_nobody():
    assert (SINGLE.broadcast(lambda: 5), SINGLE.all_gather("x"), SINGLE.any(True), SINGLE.any(False)) == (
        5,
        ["x"],
        True,
        False,
    )
    assert SINGLE.device("cpu") == torch.device("cpu")


def test_a_device_for_each_process():
    process_group = ProcessGroup(rank=1, world_size=2, local_rank=1, local_world_size=2)
    assert process_group.device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="one device for 2 processes"):
        process_group.device("cuda:0")


GIVEN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_without_torchrun_a_process_is_alone():
    assert read_environment({}) == SINGLE
    assert read_environment({"MASTER_ADDR": "set by a cluster", "MASTER_PORT": "x", "RANK": ""}) == SINGLE
    assert SINGLE.is_main


def test_torchruns_variables():
    assert read_environment(GIVEN) == ProcessGroup(3, 4, 1, 4)
    assert read_environment(GIVEN | {"LOCAL_WORLD_SIZE": "2"}) == ProcessGroup(3, 4, 1, 2)
    assert not read_environment(GIVEN).is_main


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "4"}, ["RANK=4", "WORLD_SIZE=4"]),
        ({"RANK": "0"}, ["LOCAL_RANK=1", "RANK=0"]),
        ({"LOCAL_WORLD_SIZE": "1"}, ["LOCAL_RANK=1", "LOCAL_WORLD_SIZE=1"]),
        ({"LOCAL_WORLD_SIZE": "5"}, ["LOCAL_WORLD_SIZE=5", "WORLD_SIZE=4"]),
        ({"LOCAL_WORLD_SIZE": "0"}, ["LOCAL_WORLD_SIZE=0"]),
        ({"WORLD_SIZE": "0"}, ["WORLD_SIZE=0"]),
        ({"MASTER_PORT": "65536"}, ["MASTER_PORT=65536"]),
        ({"MASTER_PORT": "0"}, ["MASTER_PORT=0"]),
        ({"RANK": "first"}, ["RANK", "'first'", "not a whole number"]),
        ({"WORLD_SIZE": "-2"}, ["WORLD_SIZE", "'-2'"]),
        ({"LOCAL_RANK": "1.5"}, ["LOCAL_RANK", "'1.5'"]),
        ({"LOCAL_RANK": ""}, ["missing: LOCAL_RANK", "RANK=3"]),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, ["missing: MASTER_ADDR, MASTER_PORT"]),
    ],
)
def test_variables_that_make_no_sense_are_named(changes, words):
    with pytest.raises(UsageError) as caught:
        read_environment(GIVEN | changes)
    for word in words:
        assert word in caught.value.problem
    assert "torchrun" in caught.value.hint


def test_processes_agree(workers, tmp_path):
    assert [code for code, _, _ in workers(3, "agree", tmp_path)] == [0, 0, 0]
    found = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [item.pop("part") for item in found] == [[0, 1], [2, 3], [4, 5, 6]]
    assert found == 3 * [
        {
            "decided": 10,
            "collected": [{"rank": 0}, {"rank": 1}, {"rank": 2}],
            "any": [True, False],
            "refused": ["not this", "but that"],
        }
    ]


@pytest.mark.parametrize("size", [2, 4])
def test_gathered_rows_have_the_gradient_of_the_whole(workers, tmp_path, size):
    assert {code for code, _, _ in workers(size, "gather", tmp_path)} == {0}
    all_pairs = _farm().all_pairs
    every = (torch.arange(4.0 * size, dtype=torch.float64).reshape(-1, 2) / 7).requires_grad_()
    loss = all_pairs(every)
    loss.backward()
    found = [torch.load(tmp_path / str(rank)) for rank in range(size)]
    for value, _ in found:
        assert value == pytest.approx(loss.item(), rel=1e-12)
    # The mean over processes is what DistributedDataParallel takes.
    gradient = torch.cat([rows for _, rows in found]) / size
    torch.testing.assert_close(gradient, every.grad, rtol=1e-12, atol=1e-12)


RATE = {"train__learning_rate": 1e-4}
"""The recipe's. AdamW divides gradients by their size: where one is as small as its rounding, so is a part of the step."""
STEADY = 1e-3
"""An eps of AdamW well above the rounding of gradients, with which every single weight has to agree."""
FULL = {"train__max_grad_norm": 0.5, "augment__erase": 0.5, "augment__brightness": 0.4}


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        (2, {**FULL, "train__gradient_accumulation_steps": 2, "model__rlp": False, "data__cache": "none"}),
        (4, {**FULL, "train__save_every_steps": 2, "train__gradient_checkpointing": True}),
        (2, {"model__method": "vtb", "data__complements": False, "model__mgmt": False, "model__avfe": False}),
        (2, {"model__method": "poar", "model__mgmt": False, "model__avfe": False}),
    ],
)
def test_several_processes_train_as_one(workers, tmp_path, coloured_dataset, micro_config, size, changes):
    config = micro_config(**{"train__epochs": 1, **RATE, **changes}).model_dump(mode="json")
    train_both(workers, tmp_path, config, coloured_dataset, size, STEADY)
    assert_alike(tmp_path / "one", tmp_path / "several")


def test_with_the_recipes_own_eps_next_to_no_weight_is_off(workers, tmp_path, coloured_dataset, micro_config):
    config = micro_config(**{"train__epochs": 1, **RATE, **FULL}).model_dump(mode="json")
    train_both(workers, tmp_path, config, coloured_dataset, 4, None)
    assert_alike(tmp_path / "one", tmp_path / "several", strays=1e-4)


def train_both(workers, folder, config, dataset, size, eps):
    """The same run by one process, in FOLDER/one, and by several."""
    for name, count in (("one", 1), ("several", size)):
        (folder / name).mkdir()
        outcomes = workers(count, "train", folder / name, config, dataset, None, 0, eps)
        assert {code for code, _, _ in outcomes} == {0}, outcomes


def test_what_is_due_after_the_last_step_of_an_epoch_is_made_up_for(
    tmp_path, coloured_dataset, micro_config, monkeypatch
):
    """A worker is lost while the epoch is evaluated."""
    config = micro_config()
    for _ in Run(tmp_path / "whole", config, coloured_dataset, None).train():
        pass
    lost = Run(tmp_path / "parts", config, coloured_dataset, None)
    with monkeypatch.context() as patch:
        patch.setattr(lost.trainer, "_evaluate", _lose)
        with pytest.raises(WorkerLost):
            for _ in lost.train():
                pass
    assert lost.save_lost() == 5
    for _ in Run(tmp_path / "parts", config, coloured_dataset, None).train():
        pass
    one, other = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert [json.loads(line) | {"seconds": 0} for line in one] == [json.loads(line) | {"seconds": 0} for line in other]
    for name in ("last", "best"):
        first, second = (read_checkpoint(tmp_path / run / "checkpoints" / name) for run in ("whole", "parts"))
        for kind in first.state["files"]:
            ours = second.tensors(kind)
            assert all(torch.equal(value, ours[key]) for key, value in first.tensors(kind).items())


def _lose():
    raise WorkerLost("gone")


def test_what_was_saved_is_not_saved_again(tmp_path, coloured_dataset, micro_config):
    run = Run(tmp_path, micro_config(train__epochs=1), coloured_dataset, None)
    for _ in run.train():
        pass
    before = (tmp_path / "checkpoints/last/state.json").stat().st_mtime_ns
    assert run.save_lost() == 5
    assert (tmp_path / "checkpoints/last/state.json").stat().st_mtime_ns == before


def test_a_run_goes_on_with_another_number_of_processes(workers, tmp_path, coloured_dataset, micro_config):
    config = micro_config(**RATE).model_dump(mode="json")
    plan = [("whole", 1, None, 10), ("parts", 1, 2, 2), ("parts", 4, 2, 4), ("parts", 2, None, 10)]
    for name, count, stop_after, step in plan:
        (tmp_path / name).mkdir(exist_ok=True)
        outcomes = workers(count, "train", tmp_path / name, config, coloured_dataset, stop_after, count - 1, STEADY)
        assert {code for code, _, _ in outcomes} == {0}, outcomes
        # Only the last process asked to stop; all stopped after the same step.
        assert {out.split()[-1] for _, out, _ in outcomes} == {str(step)}
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def assert_alike(one: Path, other: Path, *, strays: float = 0.0) -> None:
    """The same losses and figures, gradients of each step, and tensors of both checkpoints, but for rounding; `strays` as of
    `assert_close`, among the weights."""
    records = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, other)]
    assert len(records[0]) == len(records[1]) > 0
    for first, second in zip(*records, strict=True):
        first.pop("seconds"), second.pop("seconds")
        assert first.pop("val") == pytest.approx(second.pop("val"), abs=TOLERANCE)
        assert first == pytest.approx(second, abs=TOLERANCE)
    steps = sorted(path.name for path in one.glob("gradients-*"))
    assert steps
    for step in steps:
        assert_close(torch.load(one / step), torch.load(other / step))
    for name in ("last", "best"):
        first, second = (read_checkpoint(run / "checkpoints" / name) for run in (one, other))
        assert first.state["step"] == second.state["step"]
        assert first.state["best"]["epoch"] == second.state["best"]["epoch"]
        assert first.state["thresholds"] == pytest.approx(second.state["thresholds"], abs=1e-4)
        for kind in first.state["files"]:
            stepped = kind in ("model", "ema")
            assert_close(first.tensors(kind), second.tensors(kind), strays=strays if stepped else 0.0)


def assert_close(first: dict, second: dict, *, strays: float = 0.0) -> None:
    """`strays`: the share of numbers that may be off by more, up to one step of AdamW; see RATE."""
    assert first.keys() == second.keys()
    different = {name: (value.double() - second[name].double()).abs() for name, value in first.items() if value.numel()}
    worst = max(different, key=lambda name: different[name].max().item())
    most = different[worst].max().item()
    assert most < (RATE["train__learning_rate"] if strays else TOLERANCE), (worst, most)
    beyond = sum(int((part >= TOLERANCE).sum()) for part in different.values())
    assert beyond <= strays * sum(part.numel() for part in different.values()), (worst, most, beyond)
    assert len(different) > 20


def _farm():
    place = Path(__file__).parents[2] / "worker_farm.py"
    spec = importlib.util.spec_from_file_location("worker_farm", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
