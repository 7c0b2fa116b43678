"""The configuration tree: layers, errors by name, and the file that is saved with a run."""

from __future__ import annotations

import pytest

import focuscli.config as layers
from focuscli.config import PRESETS, RunConfig
from focuscli.errors import InputError, UsageError


def test_later_layers_win_and_origins_are_known():
    config, origins = layers.build_config(
        [
            ("preset tiny", PRESETS["tiny"]),
            ("--lr", {"train": {"learning_rate": 5e-4}}),
            ("file", {"train": {"seed": 3}}),
        ]
    )
    assert config.train.learning_rate == 5e-4
    assert config.train.seed == 3
    assert config.model.image_size == (128, 64)
    assert origins["train.learning_rate"] == "--lr"
    assert origins["model.preset"] == "preset tiny"
    assert "train.epochs" in origins
    assert "loss.racl" not in origins


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_saved_configuration_reads_back_equal(tmp_path, preset):
    config, _ = layers.build_config(
        [("preset", PRESETS[preset]), ("x", {"loss": {"racl_ramp": 0.5}, "data": {"dataset": 'a"b\\c'}})]
    )
    file = tmp_path / "config.toml"
    file.write_text(layers.dump_config(config))
    assert layers.build_config([("file", layers.read_config_file(file))])[0] == config


def test_defaults_are_the_papers_and_poars():
    config = RunConfig()
    assert (config.model.global_tokens, config.model.local_tokens, config.model.partitions) == (8, 4, 4)
    assert (config.model.prompt_length, config.model.attention_heads) == (4, 8)
    loss, train = config.loss, config.train
    assert (loss.v2t, loss.t2v, loss.lsim, loss.racl, loss.eps) == (1, 1, 1, 1, 1e-4)
    assert (train.learning_rate, train.weight_decay, train.batch_size, train.epochs) == (1e-4, 1e-4, 128, 100)
    assert train.warmup_steps == 100


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


@pytest.mark.parametrize("text", ["train.epochs", "epochs=3", "train.=3", ""])
def test_a_malformed_override_says_how_to_write_it(text):
    with pytest.raises(UsageError, match=r"section\.key=value"):
        layers.parse_override(text)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("train.leanring_rate=1", "Unknown key train.leanring_rate", "train.learning_rate (default 0.0001)"),
        ("trian.epochs=1", "Unknown key trian", "train"),
        ("train.epochs=many", "train.epochs='many'", None),
        ("train.epochs=0", "train.epochs=0", None),
        ("model.local_tokens=5", "does not divide over 4 patch subsets. Valid: 0, 4, 8, 12", None),
        ("model.image_size=225,224", "not a multiple of the patch size 16", None),
        ("model.image_size=240,240", "does not divide the 225 patches of a 240 x 240 input. Valid: 1", None),
        ("loss.eps=0.7", "loss.eps=0.7", None),
        ("train=3", "section.key=value", None),
    ],
)
def test_wrong_values_are_refused_by_name(text, problem, hint):
    with pytest.raises(UsageError) as caught:
        layers.build_config([("--set", layers.parse_override(text))])
    assert problem in caught.value.problem
    if hint:
        assert hint in (caught.value.hint or "")


def test_ablation_switches():
    config, _ = layers.build_config([("--without", layers.without(["rlp", "avfe", "racl", "lsim"]))])
    assert (config.model.rlp, config.model.mgmt, config.model.avfe) == (False, True, False)
    assert (config.loss.racl, config.loss.lsim) == (0, 0)
    with pytest.raises(UsageError, match="foo"):
        layers.without(["foo"])


def test_losses_that_cannot_apply_are_off():
    config, _ = layers.build_config([("--without", layers.without(["mgmt"]))])
    assert config.loss.lsim == 1
    assert config.effective_loss.lsim == 0
    assert config.effective_loss.racl == 0
    config, _ = layers.build_config([("--without", layers.without(["avfe"]))])
    assert config.effective_loss.lsim == 1
    assert config.effective_loss.racl == 0


def test_old_names_of_settings_still_load():
    """As runs of version 0.1.0 have them, in config.toml and in the checkpoint's JSON."""
    old = {"train": {"accumulate": 3, "clip_gradient": 0.5}}
    for config in (layers.build_config([("file", old)])[0], RunConfig.model_validate(old)):
        assert (config.train.gradient_accumulation_steps, config.train.max_grad_norm) == (3, 0.5)
    _, origins = layers.build_config([("--set", layers.parse_override("train.accumulate=2"))])
    assert origins == {"train.gradient_accumulation_steps": "--set"}


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such"):
        layers.read_config_file(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(InputError, match="TOML"):
        layers.read_config_file(tmp_path / "bad.toml")


def test_stacked_layers_come_over_what_preset_and_method_bring():
    merged = [("a", {"model": {"preset": "tiny", "method": "poar"}}), ("b", {"train": {"epochs": 3}})]
    settings, origins = layers.build_config(layers.stacked(merged))
    assert (settings.model.mgmt, settings.train.epochs, settings.train.ema) == (False, 3, 0.99)
    assert origins["train.epochs"] == "b"
    assert origins["model.mgmt"] == "method poar"
    for values, words in (({"preset": "huge"}, "huge"), ({"method": "clip"}, "not trained"), ({"method": "x"}, "x")):
        with pytest.raises(UsageError, match=words):
            layers.stacked([("a", {"model": values})])
