"""`focus config show`: what a setting means."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("train.epochs", {"train.epochs"}),
        ("epochs", {"train.epochs"}),
        ("batch_size", {"train.batch_size", "eval.batch_size"}),
        ("eval", {"eval.criterion", "eval.select", "eval.batch_size"}),
    ],
)
def test_a_setting_is_found_by_key_section_or_both(focus, key, settings):
    found = focus("config", "show", key, "--json").json
    assert {*found} == settings
    assert all(setting in focus("config", "show", key).stdout for setting in settings)


def test_all_settings_say_type_default_and_meaning(focus, refused):
    found = focus("config", "show", "--json").json
    meaning = "Passes over the training images."
    assert found["train.epochs"] == {"type": "int, >= 1; <= 100000", "default": "100", "meaning": meaning}
    assert found["eval.select"]["type"] == "mA or Acc or F1 or AUC"
    assert all(about["type"] and about["default"] and about["meaning"] for about in found.values())
    refused(2, "Did you mean epochs?", "config", "show", "epoch")
