"""Closed-set reports against the pure functions on the checkpoint's own scores."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.evaluation.closed_set import evaluate
from focuscli.metrics.attributes import average_precision, label_accuracy, pedestrian_metrics
from focuscli.metrics.thresholds import best_thresholds


@pytest.fixture(scope="module")
def folder(coloured_dataset):
    return read_folder(coloured_dataset)


@pytest.mark.parametrize("mode", ["val", "global", "oracle"])
def test_the_report_is_what_the_pure_functions_say_of_its_own_scores(recognizer, folder, mode):
    test = folder.select("test")
    truth = folder.labels[test, :3]
    scores = recognizer.scores([folder.image_path(i) for i in test])
    thresholds = {
        "val": [recognizer.thresholds[name] for name in ("RedHat", "Bright", "Dark")],
        "global": [recognizer.global_threshold] * 3,
        "oracle": best_thresholds(truth, scores),
    }[mode]
    report = evaluate(recognizer, folder, "test", threshold=mode)
    expected = pedestrian_metrics(truth, scores > thresholds) | {"mAP": average_precision(truth, scores).mean()}
    assert report.metrics == pytest.approx(expected | {"AUC": report.metrics["AUC"]}, abs=1e-9)
    per_attribute = label_accuracy(truth, scores > thresholds)
    assert [row.mA for row in report.attributes] == pytest.approx(per_attribute["mA"].tolist())
    assert [row.positives for row in report.attributes] == truth.sum(axis=0).tolist()
    assert [row.threshold for row in report.attributes] == pytest.approx(list(thresholds))
    assert report.threshold_source.startswith(mode)
    assert ("optimistic" in report.threshold_source) is (mode == "oracle")
    json.dumps(report.to_json(), allow_nan=False)


def test_a_threshold_that_val_cannot_choose_is_not_called_val(recognizer, folder):
    sparse = copy.copy(recognizer)
    sparse.vocabulary = replace(recognizer.vocabulary, unchosen=("Dark",))
    report = evaluate(sparse, folder, "test")
    assert [row.threshold_source for row in report.attributes] == ["val", "val", "global"]
    assert any("not chosen on val" in note and note.endswith("but global: Dark") for note in report.notes)
    assert [sparse.threshold(text)[1] for text in sparse.attributes] == ["val", "val", "global"]
    sparse.vocabulary = replace(recognizer.vocabulary, unchosen=("RedHat", "Bright", "Dark"))
    for mode in ("val", "global"):  # no one threshold was chosen there either
        empty = evaluate(sparse, folder, "test", threshold=mode)
        assert {row.threshold_source for row in empty.attributes} == {"median"}
    oracle = evaluate(sparse, folder, "test", threshold="oracle")
    assert {row.threshold_source for row in oracle.attributes} == {"oracle"}


def test_unseen_persons_are_reported_apart(recognizer, folder):
    persons = folder.persons.copy()
    persons[folder.select("test")[:6]] = persons[0]
    shared = replace(folder, persons=persons)
    trained_on_it = copy.copy(recognizer)
    trained_on_it.data_fingerprint = shared.fingerprint
    report = evaluate(trained_on_it, shared, "test")
    assert report.unseen_persons["images"] == 10
    assert report.identity == {"shared": 1, "persons": 6, "images": 6}
    alone = evaluate(recognizer, folder, "test")
    assert alone.unseen_persons is None
    assert alone.identity == {"shared": 0, "persons": 8, "images": 0}
    # For a split that was trained on, or other data, the overlap says nothing.
    assert evaluate(recognizer, folder, "val").identity is None
    assert evaluate(recognizer, shared, "test").identity is None


def test_uncertain_labels_are_masked_or_count_as_absent(recognizer, folder):
    labels = folder.labels.copy()
    uncertain = folder.select("test")[:4]
    labels[uncertain, 0] = 2
    changed = replace(folder, labels=labels)
    masked = evaluate(recognizer, changed, "test")
    assert "masked: 4 uncertain labels" in "\n".join(masked.notes)
    assert masked.attributes[0].positives == int((labels[folder.select("test"), 0] == 1).sum())
    negative = copy.copy(recognizer)
    negative.config = recognizer.config.model_copy(
        update={"data": recognizer.config.data.model_copy(update={"uncertain": "negative"})}
    )
    absent = np.where(labels == 2, 0, labels)
    assert evaluate(negative, changed, "test").metrics == evaluate(recognizer, replace(folder, labels=absent)).metrics
