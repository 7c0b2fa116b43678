"""Every method through the same commands: train, eval, predict, viz."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from focuscli.config import METHODS
from focuscli.data.folder import read_folder
from focuscli.engine.checkpoint import read_checkpoint
from focuscli.engine.run import Run
from focuscli.engine.trainer import StepEvent

COMPARED = [name for name, entry in METHODS.items() if entry.trainable and name != "focus"]


@pytest.mark.parametrize("method", COMPARED)
def test_train_eval_predict_viz(focus, micro, method, coloured_dataset, tmp_path):
    run = tmp_path / "run"
    options = [*micro, "--epochs", 14, "--lr", 3e-3]
    outcome = focus("train", "--method", method, "--dataset", coloured_dataset, "--run", run, *options)
    assert outcome.code == 0, outcome.stderr
    outcome = focus("eval", "-c", run, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["metrics"]["mA"] > 0.7
    image = read_folder(coloured_dataset).image_path(0)
    assert focus("predict", image, "-c", run, "--format", "jsonl").code == 0
    unseen = focus("predict", image, "-c", run, "-a", "green shoes")
    if method == "vtb":
        assert unseen.code == 2
        assert "one classifier per trained attribute" in unseen.stderr
    else:
        assert unseen.code == 0, unseen.stderr
    seen = read_folder(coloured_dataset).schema.attributes[0].phrase
    picture = tmp_path / "map.png"
    assert focus("viz", image, seen, "-c", run, "-o", picture).code == 0
    with Image.open(picture) as drawn:
        assert drawn.width > 100
    tokens = focus("viz", image, seen, "-c", run, "--tokens", "-o", tmp_path / "tokens.png")
    assert tokens.code == (2 if method == "vtb" else 0), tokens.stderr


@pytest.mark.parametrize("method", ["poar", "vtb"])
def test_a_resumed_run_has_the_same_bits(tmp_path, coloured_dataset, micro_config, method):
    """Also the running statistics of VTB's batch norm, and their moving average."""
    config = micro_config(train__epochs=3, train__ema=0.9, model__method=method, data__complements=False)

    def train(folder, stop_after):
        steps = []
        run = Run(folder, config, coloured_dataset, None)
        for event in run.train(lambda: len(steps) >= stop_after):
            if isinstance(event, StepEvent):
                steps.append(event.step)

    train(tmp_path / "whole", 10**9)
    train(tmp_path / "parts", 3)
    train(tmp_path / "parts", 10**9)
    states = [read_checkpoint(tmp_path / name / "checkpoints" / "last") for name in ("whole", "parts")]
    for kind in ("model", "optimizer", "ema"):
        first, second = (state.tensors(kind) for state in states)
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items()), kind
