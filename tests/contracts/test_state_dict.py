"""The tensors of each method: saved runs hold them by these names, so a name or a shape that changes breaks every run.

state_dict.txt was written by version 0.1 and only grows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_impl import CLIP, TextConfig, VisionConfig
from clip_impl.config import CLIPConfig
from focuscli.config import METHODS, ModelConfig, method_entry
from focuscli.data.schema import builtin_schema
from focuscli.models.build import build_method

LINES = (Path(__file__).parent / "state_dict.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("method", METHODS)
def test_the_tensors_have_the_names_and_shapes_of_saved_runs(method):
    """One line per tensor of a method's smallest model: "focus clip.logit_scale []"."""
    shape = CLIPConfig(
        VisionConfig(image_size=(16, 8), patch_size=4, width=16, layers=1, heads=2),
        TextConfig(width=16, layers=1, heads=2),
        embed_dim=8,
    )
    changes = {**method_entry(method).changes.get("model", {}), "preset": "tiny", "image_size": (16, 8), "patch": 4}
    config = ModelConfig(method=method, **changes)
    model = build_method(config, CLIP(shape), builtin_schema("synthetic").texts(complements=False))
    lines = [f"{method} {name} {list(tensor.shape)}" for name, tensor in model.state_dict().items()]
    assert sorted(lines) == sorted(line for line in LINES if line.startswith(f"{method} "))
