"""Similarities against the definition, and the state before training against the run itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.data.folder import read_folder
from focuscli.data.loader import normalise, read_batches
from focuscli.engine.checkpoint import saved_config
from focuscli.engine.run import Run
from focuscli.inference.recognizer import Recognizer
from focuscli.models.losses import mix_diversity_loss, region_contrastive_loss
from focuscli.tools.report.similarity import before_and_after, initial_model


@pytest.fixture(scope="module")
def recognizer(small_run):
    return Recognizer.from_checkpoint(small_run, device="cpu")


def test_before_is_the_model_that_the_run_began_with(recognizer, small_run, noisy_dataset, tmp_path):
    begun = Run(tmp_path / "again", saved_config(small_run), noisy_dataset, None).trainer.model
    ours = initial_model(recognizer).state_dict()
    assert ours.keys() == begun.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in begun.state_dict().items())
    assert not torch.equal(ours["mix_tokens.tokens"], recognizer.model.state_dict()["mix_tokens.tokens"])


def test_similarities_equal_the_definition_image_by_image(recognizer, noisy_dataset):
    """Of the texts' attention, and of the Mix Tokens of each image."""
    data = read_folder(noisy_dataset)
    paths = [data.image_path(int(index)) for index in data.select("test")]
    found = before_and_after(recognizer, paths, workers=1, progress=lambda done, total: None)
    after = found.states["after"]
    assert found.regions == {"head": 2, "lower": 2}
    texts = ["red hat", "bare head", "bright trousers", "dark trousers"]
    weights = recognizer.attention(paths, texts).token_weights.astype(np.float64)
    unit = weights / np.linalg.norm(weights, axis=-1, keepdims=True)
    similarity = np.einsum("nzk,nyk->nzy", unit, unit).mean(axis=0)
    assert after["attention"] == pytest.approx(similarity, abs=1e-5)
    same = np.kron(np.eye(2), np.ones((2, 2))) > 0
    assert np.array_equal(found.blocks, same)
    assert after["same_region"] == pytest.approx(similarity[same & ~np.eye(4, dtype=bool)].mean(), abs=1e-5)
    assert after["other_regions"] == pytest.approx(similarity[~same].mean(), abs=1e-5)
    loss = region_contrastive_loss(torch.from_numpy(weights), torch.from_numpy(same).float())
    assert after["racl"] == pytest.approx(loss.item(), abs=1e-4)
    assert after["tokens"] == pytest.approx(weights.reshape(-1, 2, 2, 6).mean(axis=(0, 2)), abs=1e-5)
    (crops,) = read_batches(paths, recognizer.config.model.image_size, [range(len(paths))], workers=0)
    for model, when in ((initial_model(recognizer), "before"), (recognizer.model, "after")):
        with torch.inference_mode():
            tokens = model.encode_image(normalise(crops, torch.device("cpu"))).tokens.double().numpy()
        unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
        expected = (unit @ unit.transpose(0, 2, 1)).mean(axis=0)
        state = found.states[when]
        assert state["mix"] == pytest.approx(expected, abs=1e-5)  # two global and four local Mix Tokens
        assert state["different_tokens"] == pytest.approx(expected[~np.eye(6, dtype=bool)].mean(), abs=1e-5)
        loss = mix_diversity_loss(torch.from_numpy(tokens), eps=recognizer.config.loss.eps)
        assert state["lsim"] == pytest.approx(loss.item(), abs=1e-4)
    assert np.abs(found.states["before"]["mix"] - found.states["after"]["mix"]).max() > 1e-4


def test_what_is_not_there_is_not_measured(report, recognizer, collected, ablated_run, monkeypatch):
    assert [*report.similarities.states] == ["before", "after"]
    monkeypatch.setattr(recognizer, "weights", "ViT-B-16.pt (sha256 5806e77cd80f)")  # not installed
    assert initial_model(recognizer) is None
    assert collected(ablated_run)[0].similarities is None
