"""Optimiser groups, schedule and moving average as defined, and the gradients that are set to zero."""

from __future__ import annotations

import math

import pytest
import torch

from focuscli.config import TrainConfig
from focuscli.data.schema import builtin_schema
from focuscli.engine import optim
from focuscli.models.build import new_method

TEXTS = builtin_schema("synthetic").texts(complements=False)


def test_matrices_decay_and_vectors_do_not():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 2))
    model[2].weight.requires_grad_(False)
    optimizer = optim.build_optimizer(model, TrainConfig(learning_rate=0.01, weight_decay=0.1))
    assert type(optimizer) is torch.optim.AdamW
    found = [(group["weight_decay"], group["lr"], {*map(id, group["params"])}) for group in optimizer.param_groups]
    vectors = {id(model[0].bias), id(model[1].weight), id(model[1].bias), id(model[2].bias)}
    assert found == [(0.1, 0.01, {id(model[0].weight)}), (0.0, 0.01, vectors)]


@pytest.mark.parametrize(
    ("warmup", "total", "share"), [(4, 20, 1.0), (0, 20, 1.0), (100, 10, 1.0), (2, 1, 1.0), (4, 20, 0.1), (1, 20, 0.1)]
)
def test_the_rate_rises_linearly_and_falls_as_a_cosine(warmup, total, share):
    config = TrainConfig(learning_rate=0.01, warmup_steps=warmup, warmup_share=share)
    optimizer = optim.build_optimizer(torch.nn.Linear(2, 2), config)
    scheduler = optim.build_scheduler(optimizer, config, total)
    rising = min(warmup, total - 1, int(share * total))
    for step in range(total):
        scheduler.step_update(step)
        expected = 0.01 * (1 + math.cos(math.pi * step / total)) / 2
        if step < rising:
            start = 0.01 / rising
            expected = start + step * (0.01 - start) / rising
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected] * 2, rel=1e-9)


def test_the_moving_average_warms_up_to_its_decay():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    assert optim.build_ema(model, TrainConfig(ema=0.0)) is None
    ema = optim.build_ema(model, TrainConfig(ema=0.5))
    expected = 0.0
    for step in range(12):
        torch.nn.init.constant_(model.weight, step + 1.0)
        ema.update(model, step=step)
        decay = min(0.5, 1 - 1 / (1 + max(0, step - 1) / 10)) if step else 0.0
        expected = decay * expected + (1 - decay) * (step + 1)
        assert ema.module.weight.item() == pytest.approx(expected, abs=1e-5)
    assert not ema.module.training


def test_gradients_of_invariant_biases_are_set_to_zero_and_no_others():
    names = ("a.in_proj_bias", "avfe.key.bias", "avfe.key.weight", "classifier_bias", "out.bias", "idle.in_proj_bias")
    parameters = {name: torch.nn.Parameter(torch.zeros(6)) for name in names}
    for name, parameter in parameters.items():
        parameter.grad = None if name.startswith("idle") else torch.arange(1.0, 7.0)
    optim.zero_invariant_gradients({parameter: name for name, parameter in parameters.items()})
    assert parameters["a.in_proj_bias"].grad.tolist() == [1, 2, 0, 0, 5, 6]
    assert not parameters["avfe.key.bias"].grad.any()
    assert not parameters["classifier_bias"].grad.any()
    for name in ("avfe.key.weight", "out.bias"):
        assert parameters[name].grad.tolist() == [1, 2, 3, 4, 5, 6]
    assert parameters["idle.in_proj_bias"].grad is None


@pytest.mark.parametrize("method", ["focus", "vtb"])
def test_these_gradients_are_zero_in_exact_arithmetic(method, micro_config):
    """In float64 they are many orders of magnitude below the others."""
    model, _ = new_method(micro_config(model__method=method, data__complements=False), TEXTS, None)
    model.double().train()
    images = torch.rand(4, 3, 32, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model(images).scores.sin().sum().backward()
    names = optim.trained_parameters(model)
    before = {name: parameter.grad.clone() for parameter, name in names.items() if parameter.grad is not None}
    optim.zero_invariant_gradients(names)
    after = {name: parameter.grad for parameter, name in names.items() if parameter.grad is not None}
    zeroed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any(name.startswith("clip.visual") for name in zeroed)
    assert ("classifier_bias" if method == "vtb" else "avfe.key.bias") in zeroed
    largest = max(gradient.abs().max().item() for gradient in before.values())
    # Some steps are in fp32 whatever the model is in.
    assert all((before[name] - after[name]).abs().max() < 1e-5 * largest for name in zeroed)
