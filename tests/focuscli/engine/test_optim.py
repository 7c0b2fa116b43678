"""Rules about learning rates and gradients that only look like some."""

from __future__ import annotations

import pytest
import torch

from focuscli.engine.optim import advised_rate, zero_invariant_gradients


def test_the_square_root_rule_speaks_only_of_the_presets_rate_at_larger_steps(micro_config):
    tiny = {"train__learning_rate": 5e-4}
    assert advised_rate(micro_config(train__batch_size=128, **tiny)) is None
    assert advised_rate(micro_config(train__batch_size=255, **tiny)) is None
    assert advised_rate(micro_config(train__batch_size=512, **tiny)) == pytest.approx(1e-3)
    assert advised_rate(
        micro_config(train__batch_size=256, train__gradient_accumulation_steps=4, **tiny)
    ) == pytest.approx(5e-4 * 8**0.5)
    assert advised_rate(micro_config(train__batch_size=512, train__learning_rate=1e-4)) is None


def test_gradients_that_are_rounding_noise_are_set_to_zero_and_no_others():
    names = ("a.in_proj_bias", "avfe.key.bias", "avfe.key.weight", "classifier_bias", "out.bias", "idle.in_proj_bias")
    parameters = {name: torch.nn.Parameter(torch.zeros(6)) for name in names}
    for name, parameter in parameters.items():
        parameter.grad = None if name.startswith("idle") else torch.arange(1.0, 7.0)
    zero_invariant_gradients({parameter: name for name, parameter in parameters.items()})
    assert parameters["a.in_proj_bias"].grad.tolist() == [1, 2, 0, 0, 5, 6]
    assert not parameters["avfe.key.bias"].grad.any()
    assert not parameters["classifier_bias"].grad.any()
    for name in ("avfe.key.weight", "out.bias"):
        assert parameters[name].grad.tolist() == [1, 2, 3, 4, 5, 6]
    assert parameters["idle.in_proj_bias"].grad is None


@pytest.mark.parametrize("method", ["focus", "vtb"])
def test_what_is_called_noise_has_no_gradient_in_exact_arithmetic(method, micro_config):
    """In float64 the gradients that are dropped are ten orders of magnitude below the others."""
    from focuscli.data.schema import builtin_schema
    from focuscli.engine.optim import trained_parameters
    from focuscli.models.build import new_method

    config = micro_config(model__method=method, data__complements=False)
    model, _ = new_method(config, builtin_schema("synthetic").texts(complements=False), None)
    model.double().train()
    _, output = model(torch.rand(4, 3, 32, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    output.scores.sin().sum().backward()
    names = trained_parameters(model)
    before = {name: parameter.grad.clone() for parameter, name in names.items() if parameter.grad is not None}
    zero_invariant_gradients(names)
    after = {name: parameter.grad for parameter, name in names.items() if parameter.grad is not None}
    dropped = [name for name in before if not torch.equal(before[name], after[name])]
    assert any(name.startswith("clip.visual") for name in dropped)
    assert ("classifier_bias" if method == "vtb" else "avfe.key.bias") in dropped
    largest = max(gradient.abs().max().item() for gradient in before.values())
    # Some steps are in fp32 whatever the model is in.
    assert all((before[name] - after[name]).abs().max() < 1e-5 * largest for name in dropped)
