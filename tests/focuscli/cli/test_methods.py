"""Every method through the same commands: train, eval, predict, viz."""

from __future__ import annotations

import pytest
from PIL import Image

from focuscli.config import METHODS
from focuscli.data.folder import read_folder

COMPARED = [name for name, entry in METHODS.items() if entry.trainable and name != "focus"]


@pytest.mark.parametrize("method", COMPARED)
def test_train_eval_predict_viz(focus, micro, method, coloured_dataset, tmp_path):
    run = tmp_path / "run"
    options = [*micro, "--epochs", 14, "--lr", 3e-3]
    outcome = focus("train", "--method", method, "--dataset", coloured_dataset, "--run", run, *options)
    assert outcome.code == 0, outcome.stderr
    assert "  val (thresholds from the same val) mA " in outcome.stderr
    outcome = focus("eval", "-c", run, "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["metrics"]["mA"] > 0.7
    image = read_folder(coloured_dataset).image_path(0)
    assert focus("predict", image, "-c", run, "--format", "jsonl").code == 0
    unseen = focus("predict", image, "-c", run, "-a", "green shoes")
    assert unseen.code == (2 if method == "vtb" else 0), unseen.stderr
    assert ("one classifier per trained attribute" in unseen.stderr) is (method == "vtb")
    seen = read_folder(coloured_dataset).schema.attributes[0].phrase
    picture = tmp_path / "map.png"
    assert focus("viz", image, seen, "-c", run, "-o", picture).code == 0
    with Image.open(picture) as drawn:
        assert drawn.width > 100
    tokens = focus("viz", image, seen, "-c", run, "--tokens", "-o", tmp_path / "tokens.png")
    assert tokens.code == (2 if method == "vtb" else 0), tokens.stderr
