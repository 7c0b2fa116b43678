"""Checkpoints: what is saved comes back, and a failed save leaves the previous one."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors import SafetensorError

from focuscli.engine import checkpoint
from focuscli.errors import InputError, RequirementError

OLD = Path(__file__).parents[2] / "fixtures/run-0.1.0/checkpoints/last/state.json"
STATE = json.loads(OLD.read_text())


def test_a_save_comes_back_and_replaces_the_previous_one(tmp_path):
    for step in (1, 2):
        tensors = {"model": {"a": torch.full((2, 3), step / 3), "b": torch.arange(step)}}
        checkpoint.save_checkpoint(tmp_path, tensors, {**STATE, "step": step, "note": "x"})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model-00000002.safetensors", "state.json"]
    loaded = checkpoint.read_checkpoint(tmp_path)
    files = {"model": "model-00000002.safetensors"}
    assert loaded.state == {**STATE, "format": 1, "step": 2, "note": "x", "files": files}
    assert all(torch.equal(loaded.tensors("model")[name], value) for name, value in tensors["model"].items())
    with pytest.raises(InputError, match="never saved"):
        loaded.tensors("ema")


@pytest.mark.parametrize(
    ("failing", "raised", "expected", "number"),
    [
        ("safetensors.torch.save_file", OSError(28, "No space left on device"), RequirementError, None),
        ("focuscli.engine.checkpoint.write_json", OSError(28, "No space left on device"), OSError, 28),
        ("safetensors.torch.save_file", SafetensorError("I/O error: No space left on device"), OSError, 28),
        ("safetensors.torch.save_file", SafetensorError("something else"), OSError, 5),
    ],
)
def test_a_failed_save_keeps_the_previous_checkpoint(tmp_path, monkeypatch, failing, raised, expected, number):
    """The library's own error becomes the system's."""
    checkpoint.save_checkpoint(tmp_path, {"model": {"a": torch.zeros(2)}}, {**STATE, "step": 1})
    monkeypatch.setattr(failing, Mock(side_effect=raised))
    with pytest.raises(expected, match=r"No space|something else") as caught:
        checkpoint.save_checkpoint(tmp_path, {"model": {"a": torch.ones(2)}}, {**STATE, "step": 2})
    assert getattr(caught.value, "errno", None) == number
    assert checkpoint.read_checkpoint(tmp_path).tensors("model")["a"].tolist() == [0, 0]
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'{"format": 99, "files": {}}', b"\xff\xfe", b"[" * 9999, b"9" * 9999]
)
def test_a_damaged_state_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(InputError, match=r"state\.json|no checkpoint"):
        checkpoint.read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"best": None}, "best"),
        ({"best": {"epoch": "two", "value": 0.5}}, "best.epoch"),
        ({"step": -1}, "step"),
        ({"global_threshold": float("inf")}, "global_threshold"),
        ({"thresholds": {"Female": None}}, "thresholds.Female"),
        ({"thresholds": {"Unknown": 0.5}}, "no attribute"),
        ({"files": {"model": "/dev/zero"}}, "files.model"),
        ({"config": {"train": {"epochs": 10**30}}}, "config.train.epochs"),
        ({"schema": {"name": "empty"}}, "schema"),
        ({"data": {**STATE["data"], "fingerprint": 1}}, "data.fingerprint"),
    ],
)
def test_a_state_of_another_form_is_refused_by_the_name_of_what_is_wrong(tmp_path, change, words):
    (tmp_path / "state.json").write_text(json.dumps({**STATE, **change}))
    with pytest.raises(InputError, match=rf"state\.json is damaged: .*{words}"):
        checkpoint.read_checkpoint(tmp_path)


@pytest.mark.parametrize("change", ["renamed", "reshaped", "missing", "integer"])
def test_the_state_of_another_optimizer_is_refused(change):
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    names = {parameter: name for name, parameter in layer.named_parameters()}
    tensors = checkpoint.optimizer_tensors(optimizer, names)
    checkpoint.restore_optimizer(optimizer, names, tensors)
    value = tensors.pop("exp_avg/weight")
    damaged = {"renamed": ("exp_avg/wEight", value), "reshaped": ("exp_avg/weight", value.T), "missing": (None, value)}
    name, value = damaged.get(change, ("exp_avg/weight", value.int()))
    with pytest.raises(InputError, match="optimizer state is damaged"):
        checkpoint.restore_optimizer(optimizer, names, tensors | ({name: value} if name else {}))


@pytest.mark.parametrize("keep", [100, 0])
def test_damaged_tensors_are_refused(tmp_path, keep):
    checkpoint.save_checkpoint(tmp_path, {"model": {"a": torch.zeros(200)}}, {**STATE, "step": 1})
    file = next(tmp_path.glob("model-*"))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged"):
        checkpoint.read_checkpoint(tmp_path).tensors("model")


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded():
    model = torch.nn.Linear(2, 3)
    before = model.weight.clone()
    tensors = {"weight": torch.zeros(3, 4), **{f"extra{number}": torch.zeros(1) for number in range(5)}}
    with pytest.raises(InputError) as caught:
        checkpoint.load_strictly(model, tensors, "checkpoint X")
    assert str(caught.value.problem) == (
        "checkpoint X does not fit the model: missing bias; unexpected extra0; unexpected extra1; unexpected extra2; "
        "unexpected extra3; unexpected extra4; and 1 more."
    )
    assert torch.equal(model.weight, before)
    with pytest.raises(InputError, match=r"X does not fit the model: weight has shape \[3, 4\], want \[3, 2\]\.$"):
        checkpoint.load_strictly(model, {"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, "X")
    checkpoint.load_strictly(model, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, "X")
    assert model.weight.eq(1).all()


def test_a_restored_optimiser_goes_on_as_if_it_had_never_stopped():
    def model_and_optimiser():
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 3)
        names = {parameter: name for name, parameter in model.named_parameters()}
        return model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True), names

    def step(model, optimiser):
        model(torch.ones(4, 2)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    model, optimiser, names = model_and_optimiser()
    for _ in range(3):
        step(model, optimiser)
    saved = {name: value.clone() for name, value in checkpoint.optimizer_tensors(optimiser, names).items()}
    assert {*saved} == {f"{key}/{name}" for key in ("exp_avg", "exp_avg_sq", "step") for name in ("weight", "bias")}
    resumed, fresh, its_names = model_and_optimiser()
    resumed.load_state_dict(model.state_dict())
    checkpoint.restore_optimizer(fresh, its_names, saved)
    step(model, optimiser)
    step(resumed, fresh)
    assert torch.equal(resumed.weight, model.weight)
    for values in fresh.state.values():
        assert {value.device for value in values.values()} == {resumed.weight.device}
