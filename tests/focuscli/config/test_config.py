"""The configuration tree: layers, errors by name, and the file that is saved with a run."""

from __future__ import annotations

import pytest

import focuscli.config as layers
from focuscli.config import PRESETS, RunConfig
from focuscli.errors import UsageError
from focuscli.storage.documents import read_toml


def test_later_layers_win_and_origins_are_known():
    merged = [("a", {"model": {"preset": "tiny", "method": "poar"}}), ("b", {"train": {"epochs": 3}})]
    settings, origins = layers.build_config(layers.stacked(merged))
    assert (settings.model.mgmt, settings.train.epochs, settings.train.ema) == (False, 3, 0.99)
    assert (origins["train.epochs"], origins["model.mgmt"]) == ("b", "method poar")
    assert "loss.eps" not in origins


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_saved_configuration_reads_back_equal(tmp_path, preset):
    config, _ = layers.build_config(
        [("preset", PRESETS[preset]), ("x", {"loss": {"racl_ramp": 0.5}, "data": {"dataset": 'a"b\\c'}})]
    )
    file = tmp_path / "config.toml"
    file.write_text(layers.dump_config(config))
    assert layers.build_config([("file", read_toml(file))])[0] == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.learning_rate=3e-4", {"train": {"learning_rate": 3e-4}}),
        ("train.gradient_checkpointing=true", {"train": {"gradient_checkpointing": True}}),
        ("data.regions=fine", {"data": {"regions": "fine"}}),
        ("model.image_size=256,128", {"model": {"image_size": [256, 128]}}),
        ("model.image_size=[256, 128]", {"model": {"image_size": [256, 128]}}),
        (" train.epochs = 3 ", {"train": {"epochs": 3}}),
    ],
)
def test_overrides(text, expected):
    assert layers.parse_override(text) == expected
    layers.build_config([("--set", layers.parse_override(text))])


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("train.leanring_rate=1", "Unknown key train.leanring_rate", "Did you mean train.learning_rate?"),
        ("trian.epochs=1", "Unknown key trian", "train"),
        ("train.epochs=many", "train.epochs='many'", None),
        ("train.epochs=0", "train.epochs=0", None),
        ("model.local_tokens=5", "model.local_tokens=5 is not a multiple of model.partitions=4", None),
        ("model.image_size=225,224", "not a multiple of the patch size 16", None),
        ("model.image_size=240,240", "does not divide the 225 patches of a 240 x 240 input. Valid: 1", None),
        ("loss.eps=0.7", "loss.eps=0.7", None),
        ("train=3", "section.key=value", None),
        ("train.=3", "section.key=value", None),
        ("train.epochs", "section.key=value", None),
        ('model.method="pour"', "method", None),
    ],
)
def test_wrong_values_are_refused_by_name(text, problem, hint):
    with pytest.raises(UsageError) as caught:
        layers.build_config([("--set", layers.parse_override(text))])
    assert problem in caught.value.problem
    if hint:
        assert hint in (caught.value.hint or "")


def test_old_names_of_settings_still_load():
    """As runs of version 0.1.0 have them, in config.toml and in the checkpoint's JSON."""
    old = {"train": {"accumulate": 3, "clip_gradient": 0.5}}
    for config in (layers.build_config([("file", old)])[0], RunConfig.model_validate(old)):
        assert (config.train.gradient_accumulation_steps, config.train.max_grad_norm) == (3, 0.5)
    _, origins = layers.build_config([("--set", layers.parse_override("train.accumulate=2"))])
    assert origins == {"train.gradient_accumulation_steps": "--set"}


def test_ablation_switches_and_losses_that_cannot_apply():
    expected = {"rlp": (1, 1), "avfe": (1, 0), "mgmt": (0, 0), "racl": (1, 0), "lsim": (0, 1)}
    for part, losses in expected.items():
        config, _ = layers.build_config([("--without", layers.without([part]))])
        assert (config.effective_loss.lsim, config.effective_loss.racl) == losses
        switches = {name: getattr(config.model, name) for name in ("rlp", "mgmt", "avfe")}
        assert [name for name, on in switches.items() if not on] == [name for name in switches if name == part]
    with pytest.raises(UsageError, match="foo"):
        layers.without(["foo"])
