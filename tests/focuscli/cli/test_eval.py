"""`focus eval` on a small trained run and on zero-shot CLIP; --open-domain has a file of its own."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import clip_impl
from focuscli.cli.eval import _bound
from focuscli.data.folder import read_folder
from focuscli.data.images import load_image
from focuscli.metrics.attributes import pedestrian_metrics
from focuscli.metrics.thresholds import best_thresholds


def test_metrics_weights_and_persons_are_shown(focus, trained_run):
    report = focus("eval", "-c", trained_run, "--json").json
    assert report["metrics"]["mA"] > 0.85
    assert report["images"] == 16
    assert report["identity"] == {"shared": 0, "persons": 8, "images": 0}
    outcome = focus("eval", "-c", trained_run, "--per-attribute")
    assert outcome.code == 0, outcome.stderr
    for words in (
        f"{100 * report['metrics']['mA']:.2f}",
        "weights     from scratch, trained on coloured (40 images, train)",
        "persons     0 of 8 in this split are also in train or val, with 0 of 16 images",
        "RedHat",
    ):
        assert words in outcome.stdout
    for threshold in ("val", "global", "oracle"):
        outcome = focus("eval", "-c", trained_run, "--threshold", threshold)
        assert f"thresholds  {threshold}" in outcome.stdout
        saved = json.loads((trained_run / "eval" / f"coloured-test-{threshold}-best.json").read_text())
        assert saved["threshold_source"].startswith(threshold)


def test_a_metric_below_its_bound_fails_with_the_metrics(focus, trained_run):
    assert focus("eval", "-c", trained_run, "--require", "mA>=10").code == 0
    plain = focus("eval", "-c", trained_run, "--require", "mA>=10", "--require", "mA>=100.1")
    assert plain.code == 5
    assert "not at least 100.1" in plain.stderr
    assert "thresholds  val" in plain.stdout
    outcome = focus("eval", "-c", trained_run, "--require", "mA>=100.1", "--json")
    assert outcome.code == outcome.json["error"]["code"] == 5
    assert outcome.json["metrics"]["mA"] > 0


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("mA>=74", ("mA", 74)),
        ("ma >= 0.74", ("mA", 74)),
        ("MA=74%", ("mA", 74)),
        ("f1H>=.5%", ("F1h", 0.5)),
        ("map>=1%", ("mAP", 1)),
        ("AUC>=0", ("AUC", 0)),
        ("Acc>=100.1", ("Acc", 100.1)),
    ],
)
def test_a_bound_is_a_fraction_or_a_percentage_in_any_case(text, bound):
    assert _bound(text) == bound


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--split", "west"], 3, "west"),
        (["--threshold", "best"], 2, "oracle"),
        (["--require", "beauty>=3"], 2, "Metrics: mA"),
        (["--require", "mA>3"], 2, "mA>=74% or mA>=0.74"),
        (["--require", "ma>=1"], 2, "Write mA>=1% or mA>=100%"),
        (["--group", "hats"], 2, "--group goes with --open-domain"),
        (["-c", "nothing"], 3, "nothing"),
        (["-c", "model.onnx"], 2, "only focus predict"),
        (["-d", "nowhere"], 3, 'Unknown dataset "nowhere"'),
        (["-c", "latest"], 4, "focus train"),
        (["-c", "RUN", "-c", "RUN"], 2, "Several are for a matrix: add --open-domain"),
    ],
)
def test_refusals(refused, trained_run, arguments, code, words):
    run = [] if "-c" in arguments else ["-c", trained_run]
    refused(code, words, "eval", *run, *(trained_run if word == "RUN" else word for word in arguments))


def test_a_dataset_with_other_attributes_is_refused(refused, trained_run, coloured_dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(coloured_dataset, other)
    for file, old, new in (
        ("schema.toml", 'phrase = "red hat"', 'phrase = "red cap"'),
        ("schema.toml", "RedHat", "RedCap"),
        ("schema.toml", 'name = "coloured"', 'name = "other"'),
        ("labels.csv", "RedHat", "RedCap"),
    ):
        (other / file).write_text((other / file).read_text().replace(old, new))
    words = "closed-set metrics on other need its 3; not among the trained ones: RedCap"
    refused(3, words, "eval", "-c", trained_run, "-d", other)


@pytest.mark.parametrize("mode", [[], ["--open-domain"]])
def test_another_state_of_the_trained_data_is_refused_with_the_way_out(
    focus, refused, trained_run, coloured_dataset, tmp_path, mode
):
    """Its test images may have been trained on: nothing in the metrics would show it."""
    changed = tmp_path / "changed"
    shutil.copytree(coloured_dataset, changed)
    labels = changed / "labels.csv"
    labels.write_text(
        labels.read_text().replace(",test,", ",swap,").replace(",val,", ",test,").replace(",swap,", ",val,")
    )
    option = "--target" if mode else "-d"
    outcome = refused(3, "another state of coloured", "eval", "-c", trained_run, *mode, option, changed)
    assert "--other-data" in outcome.stderr
    assert str(coloured_dataset) in outcome.stderr
    assert focus("eval", "-c", trained_run, *mode, option, changed, "--other-data").code == 0
    assert focus("eval", "-c", trained_run, *mode, option, coloured_dataset).code == 0


def clip_scores(weights, folder, split):
    """Oracle: clip_impl alone, the class token against the plain phrases."""
    model, preprocess = clip_impl.load(weights)
    phrases = [attribute.phrase for attribute in folder.schema.evaluated]
    images = torch.stack([preprocess(load_image(folder.image_path(int(i)))) for i in folder.select(split)])
    with torch.no_grad():
        features = [model.encode_image(images.float()), model.encode_text(clip_impl.tokenize(phrases))]
        unit = [torch.nn.functional.normalize(feature.float(), dim=-1) for feature in features]
        return (model.logit_scale.exp() * unit[0] @ unit[1].T).numpy()


def test_zero_shot_clip_equals_plain_clip(focus, weights, coloured_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = focus("eval", "-c", "clip", "--dataset", coloured_dataset, "--json")
    assert outcome.code == 0, outcome.stderr
    folder = read_folder(coloured_dataset)
    truth = {split: folder.labels[folder.select(split), :3] == 1 for split in ("val", "test")}
    scores = {split: clip_scores(weights, folder, split) for split in ("val", "test")}
    thresholds = best_thresholds(truth["val"], scores["val"])
    expected = pedestrian_metrics(truth["test"], scores["test"] > thresholds)
    found = outcome.json
    assert found["metrics"]["mA"] == pytest.approx(expected["mA"], abs=0.02)
    assert [row["threshold"] for row in found["attributes"]] == pytest.approx(thresholds.tolist(), abs=1e-3)
    assert found["threshold_source"].startswith("val: per attribute, chosen on val of coloured")
    assert found["trained_on"] == "nothing (0 images, zero-shot CLIP)"
    assert not any("another domain" in note for note in found["notes"])


def test_zero_shot_clip_needs_weights_and_a_dataset(refused, weights, coloured_dataset, tmp_path, monkeypatch):
    refused(2, "--dataset", "eval", "-c", "clip")
    monkeypatch.setenv("FOCUS_HOME", str(tmp_path / "empty"))
    refused(4, "focus prepare weights", "eval", "-c", "clip", "--dataset", coloured_dataset)
