"""A results file to look at, and a run."""

from __future__ import annotations

import pytest

from focuscli.tools.bench.results import Check, Machine, Missing, Results, timed


@pytest.fixture
def run(coloured_dataset, micro_config, tmp_path):
    """A run of the smallest model on the coloured dataset."""
    from focuscli.engine.run import Run

    config = micro_config(data__dataset=str(coloured_dataset))
    for _ in Run(tmp_path / "run", config, coloured_dataset, None).train():
        pass
    return tmp_path / "run"


@pytest.fixture
def machine():
    return Machine(
        cpu="A CPU",
        cores=2,
        threads=1,
        device="cpu",
        device_name="x86_64",
        memory_gib=24.0,
        python="3.11.7",
        packages={"torch": "2.15.0"},
        load_before=0.1,
        load_after=1.0,
        date="2026-11-23T10:00:00+00:00",
    )


@pytest.fixture
def results(machine):
    """A run with one figure that meets its target, one that does not, one that is wrong, and one that is missing."""

    def check(difference):
        return Check(what="features", difference=difference, bound=1e-5)

    encode = timed(
        "encode",
        {"ours fp32": [1.0, 1.1, 0.9], "ours fp32 256x128": [0.8, 0.88, 0.72], "ours ONNX int8": [0.2, 0.2, 0.2]},
        unit="ms/image",
        scale=1000 / 16,
        clock="cpu",
        checks={"ours fp32": check(1e-7), "ours fp32 256x128": check(1e-7), "ours ONNX int8": check(1.0)},
        compare={"ours fp32 256x128": ["ours fp32"], "ours ONNX int8": ["ours fp32"]},
    )
    startup = timed("startup", {"focus --help": [0.1, 0.2, 0.15]}, unit="s", scale=1.0, clock="cpu")
    return Results(
        command="focus bench all",
        settings={"model": "vit-b16", "quick": False, "precision": "auto"},
        machine=machine,
        measurements=(*encode, *startup),
        missing=(Missing(work="encode", name="ours bf16", reason="no bf16 instructions"),),
    )
