"""What the environment says about other processes, right and wrong."""

from __future__ import annotations

import pytest

from focuscli.engine.torchrun import ALONE, Worker, read_worker
from focuscli.errors import UsageError

GIVEN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_without_torchrun_a_process_is_alone():
    assert read_worker({}) == ALONE
    assert read_worker({"MASTER_ADDR": "set by a cluster", "MASTER_PORT": "x", "RANK": ""}) == ALONE
    assert ALONE.is_main


def test_torchruns_variables():
    assert read_worker(GIVEN) == Worker(rank=3, size=4, local_rank=1, local_size=4)
    assert read_worker(GIVEN | {"LOCAL_WORLD_SIZE": "2"}) == Worker(3, 4, 1, 2)
    assert not read_worker(GIVEN).is_main


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
        ({"RANK": "first"}, ["RANK", "'first'", "no whole number"]),
        ({"WORLD_SIZE": "-2"}, ["WORLD_SIZE", "'-2'"]),
        ({"LOCAL_RANK": "1.5"}, ["LOCAL_RANK", "'1.5'"]),
        ({"LOCAL_RANK": ""}, ["missing: LOCAL_RANK", "RANK=3"]),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, ["missing: MASTER_ADDR, MASTER_PORT"]),
    ],
)
def test_variables_that_make_no_sense_are_named(changes, words):
    with pytest.raises(UsageError) as caught:
        read_worker(GIVEN | changes)
    for word in words:
        assert word in caught.value.problem
    assert "torchrun" in caught.value.hint
