"""Stored scores: used again only where all is as it was."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.evaluation.closed_set import evaluate, label_split
from focuscli.inference.recognizer import Recognizer
from focuscli.tools.report.scores import split_scores


@pytest.fixture
def case(small_run, noisy_dataset, tmp_path):
    """A recognizer, its data, and an empty store."""
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    data = tmp_path / "data"
    shutil.copytree(noisy_dataset, data)
    images = tmp_path / "images"
    shutil.copytree(read_folder(noisy_dataset).root, images)
    schema = data / "schema.toml"
    schema.write_text(schema.read_text().replace(str(read_folder(noisy_dataset).root), str(images)))
    return Recognizer.from_checkpoint(run, device="cpu"), read_folder(data), tmp_path / "store"


def counted(recognizer, monkeypatch):
    """A list with an entry for each time that images are scored from now on."""
    calls, score_files = [], recognizer.score_files
    monkeypatch.setattr(recognizer, "score_files", lambda *a, **k: calls.append(1) or score_files(*a, **k))
    return calls


def test_a_second_time_no_image_is_scored(case, monkeypatch):
    recognizer, data, store = case
    calls = counted(recognizer, monkeypatch)
    labelled = label_split(recognizer, data, "test")
    first = split_scores(recognizer, data, "test", labelled, store)
    second = split_scores(recognizer, data, "test", labelled, store)
    assert len(calls) == 1
    assert np.array_equal(first, second)
    assert evaluate(recognizer, data, "test", scores=second).metrics == evaluate(recognizer, data, "test").metrics


@pytest.mark.parametrize("change", ["image", "labels", "checkpoint", "damage"])
def test_what_has_changed_is_scored_anew(case, monkeypatch, change):
    recognizer, data, store = case
    labelled = label_split(recognizer, data, "test")
    first = split_scores(recognizer, data, "test", labelled, store)
    (file,) = store.iterdir()
    if change == "image":
        shutil.copy(data.image_path(0), labelled.paths[0])
    elif change == "labels":
        object.__setattr__(data, "fingerprint", "0" * 64)
    elif change == "checkpoint":
        (weights,) = recognizer.folder.glob("model-*.safetensors")
        weights.write_bytes(weights.read_bytes() + b" ")
    else:
        file.write_bytes(file.read_bytes()[:40])
    calls = counted(recognizer, monkeypatch)
    again = split_scores(recognizer, data, "test", labelled, store)
    assert len(calls) == 1
    assert np.array_equal(first[1:], again[1:])
    assert np.array_equal(first[0], again[0]) is (change != "image")


def test_a_store_that_cannot_be_written_is_no_error(case):
    recognizer, data, store = case
    store.write_text("a file where a folder should be")
    labelled = label_split(recognizer, data, "test")
    assert split_scores(recognizer, data, "test", labelled, store).shape == (16, 3)
    assert store.read_text().startswith("a file")
