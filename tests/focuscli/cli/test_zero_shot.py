"""`-c clip`: zero-shot CLIP through eval, predict and viz (random weights: only the computation is looked at)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import clip_impl
from focuscli.data.folder import read_folder
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.metrics.thresholds import best_thresholds


def plain_scores(weights, folder, split):
    """Oracle: clip_impl alone, the class token against the plain phrases."""
    model, preprocess = clip_impl.load(weights)
    phrases = [attribute.phrase for attribute in folder.schema.evaluated]
    from focuscli.data.images import load_image

    images = torch.stack([preprocess(load_image(folder.image_path(int(i)))) for i in folder.select(split)])
    with torch.no_grad():
        features = [model.encode_image(images.float()), model.encode_text(clip_impl.tokenize(phrases))]
        unit = [torch.nn.functional.normalize(feature.float(), dim=-1) for feature in features]
        return (model.logit_scale.exp() * unit[0] @ unit[1].T).numpy()


def test_eval_equals_plain_clip(focus, weights, coloured_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = focus("eval", "-c", "clip", "--dataset", coloured_dataset, "--json")
    assert outcome.code == 0, outcome.stderr
    folder = read_folder(coloured_dataset)
    truth = {split: folder.labels[folder.select(split), :3] == 1 for split in ("val", "test")}
    scores = {split: plain_scores(weights, folder, split) for split in ("val", "test")}
    thresholds = best_thresholds(truth["val"], scores["val"])
    expected = pedestrian_metrics(truth["test"], scores["test"] > thresholds)
    found = outcome.json
    assert found["metrics"]["mA"] == pytest.approx(expected["mA"], abs=0.02)
    assert [row["threshold"] for row in found["attributes"]] == pytest.approx(thresholds.tolist(), abs=1e-3)
    assert found["threshold_source"].startswith("val: per attribute, val of coloured")
    assert found["trained_on"] == "nothing (0 images, zero-shot CLIP)"
    assert not any("another domain" in note for note in found["notes"])


def test_predict_has_scores_but_no_answer(focus, weights, coloured_dataset):
    folder = read_folder(coloured_dataset)
    image = folder.image_path(0)
    outcome = focus("predict", image, "-c", "clip", "-a", "red hat", "--format", "jsonl")
    assert outcome.code == 0, outcome.stderr
    line = json.loads(outcome.stdout)
    assert np.isfinite(line["scores"]["red hat"])
    assert line["thresholds"] == {"red hat": None}
    assert line["present"] == []
    table = focus("predict", image, "-c", "clip", "-a", "red hat")
    assert "yes" not in table.stdout
    assert "threshold none" in table.stdout


def test_viz(focus, weights, coloured_dataset, tmp_path):
    image = read_folder(coloured_dataset).image_path(0)
    outcome = focus("viz", image, "red hat", "-c", "clip", "-o", tmp_path / "map.png", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["thresholds"] == {"red hat": None}


def test_open_domain(focus, weights, coloured_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = focus("eval", "-c", "clip", "--open-domain", "--target", coloured_dataset, "--json")
    assert outcome.code in (0, 3), outcome.stderr  # 3: the small dataset has a group of one text
    assert "Traceback" not in outcome.stderr


def test_what_is_missing_is_said(focus, coloured_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "empty"))
    outcome = focus("eval", "-c", "clip", "--dataset", coloured_dataset)
    assert outcome.code == 4
    assert "focus prepare weights" in outcome.stderr


def test_a_dataset_must_be_named(focus, weights):
    outcome = focus("eval", "-c", "clip")
    assert outcome.code == 2
    assert "--dataset" in outcome.stderr
