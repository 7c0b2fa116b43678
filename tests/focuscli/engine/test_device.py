"""Devices and precisions by name; compiled layers compute the same under the same names."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch

from focuscli.engine import device as device_module
from focuscli.engine.device import autocast, compile_layers, effective_precision
from focuscli.engine.run import Run
from focuscli.errors import RequirementError
from tests.pretended_cuda import pretended_cuda


@pytest.fixture
def counted(monkeypatch):
    """How often a layer's graph was compiled, by a backend that runs it as it is: no C++ compiler, no half a minute."""
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    plain = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer: plain(layer, backend=backend))
    monkeypatch.setenv("CXX", sys.executable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield graphs
    torch._dynamo.reset()


def test_a_compiled_run_is_the_same_run(tmp_path, coloured_dataset, micro_config, counted):
    changes = {"train__gradient_checkpointing": True}
    plain = Run(tmp_path / "plain", micro_config(**changes), coloured_dataset, None)
    compiled = Run(tmp_path / "compiled", micro_config(train__compile=True, **changes), coloured_dataset, None)
    assert [*plain.train()]
    assert not counted
    assert [*compiled.train()]
    first, second = plain.trainer, compiled.trainer
    assert 2 <= len(counted) <= 4  # a layer, and the last one, of which only some tokens are read; not each layer anew
    assert first.model.state_dict().keys() == second.model.state_dict().keys()
    layers = [model.clip.visual.transformer.resblocks for model in (second.model, second.evaluated_model)]
    assert [part[0]._compiled_call_impl is not None for part in layers] == [True, False]
    for record, other in zip(first.history, second.history, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-4)
    for kind in ("model", "ema"):
        torch.testing.assert_close(first.tensors()[kind], second.tensors()[kind], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(("device", "words"), [("cpu", "a compiler"), ("cuda", "triton")])
def test_what_is_missing_is_named_before_training(monkeypatch, device, words):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(device_module.shutil, "which", lambda _name: None)
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(RequirementError, match=words) as caught:
        compile_layers(torch.nn.Module(), torch.device(device))
    assert "without --compile" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [("cpu", "auto", "fp32"), ("cuda", "auto", "bf16"), ("cpu", "bf16", "bf16"), ("cuda", "fp32", "fp32")],
)
def test_precision(device, precision, expected):
    assert effective_precision(torch.device(device), precision) == expected
    if device == "cpu":
        with autocast(torch.device("cpu"), precision):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert (product.dtype == torch.bfloat16) is (expected == "bf16")


@pytest.mark.parametrize("method", ["focus", "poar", "vtb"])
def test_on_cuda_a_resumed_run_goes_on(tmp_path, coloured_dataset, micro_config, method):
    """Training, a checkpoint and the first step after it never mix devices, and change the same as on the CPU."""
    common = {"train__ema": 0.0, "train__precision": "fp32", "model__method": method}
    common["data__complements"] = method != "vtb"
    losses = {}
    for device in ("cpu", "cuda"):
        with pretended_cuda():
            for _ in range(2):
                run = Run(tmp_path / device, micro_config(train__device=device, **common), coloured_dataset, None)
                kinds = {
                    str(value.device) for state in run.trainer.optimizer.state.values() for value in state.values()
                }
                start = run.resumed_from
                for event in run.train(stop=lambda run=run, start=start: run.trainer.step >= start + 2):
                    losses.setdefault(device, []).append(event.step_losses["loss"])
            assert kinds == {"cpu" if device == "cpu" else "cuda:0"}
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-4)
    assert len(losses["cpu"]) == 4
