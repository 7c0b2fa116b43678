"""What `focus bench` measures."""

from __future__ import annotations

import torch

from focuscli.tools import bench


def test_a_step_trains_what_a_run_trains_and_nothing_else():
    model, config = bench.random_model("tiny")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = bench.step_fn(model.train(), config, 2, "fp32")
    losses = [step() for _ in range(3)]
    assert losses[2] < losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"mix_tokens.tokens", "prompts.context", "avfe.query.weight", "clip.visual.proj"} <= changed
    assert all(name.startswith("clip.visual.") for name in changed if name.startswith("clip."))


def test_the_median_of_the_rounds_without_the_first_call(monkeypatch):
    clock = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    calls = []
    assert bench.median_seconds(lambda: calls.append(1), 3) == 2.0
    assert len(calls) == 4
