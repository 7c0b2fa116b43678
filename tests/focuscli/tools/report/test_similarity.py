"""Similarities against the definition, and the state before training against the run itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.data.folder import read_folder
from focuscli.data.loader import normalise, read_batches, to_unit
from focuscli.engine.run import Run, saved_config
from focuscli.errors import FocusError
from focuscli.inference.recognizer import Recognizer
from focuscli.models.losses import mix_diversity_loss, region_contrastive_loss
from focuscli.tools.report.similarity import before_and_after, initial_model


@pytest.fixture(scope="module")
def recognizer(small_run):
    return Recognizer.from_checkpoint(small_run, device="cpu")


@pytest.fixture(scope="module")
def paths(noisy_dataset):
    data = read_folder(noisy_dataset)
    return [data.image_path(int(index)) for index in data.select("test")]


def test_before_is_the_model_that_the_run_began_with(recognizer, small_run, noisy_dataset, tmp_path):
    begun = Run(tmp_path / "again", saved_config(small_run), noisy_dataset, None).trainer.model
    ours = initial_model(recognizer).state_dict()
    assert ours.keys() == begun.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in begun.state_dict().items())
    assert not torch.equal(ours["mix_tokens.tokens"], recognizer.model.state_dict()["mix_tokens.tokens"])


def test_means_equal_the_definition_image_by_image(recognizer, paths):
    found = before_and_after(recognizer, paths)
    texts = list(found.texts)
    weights = recognizer.attention(paths, texts).token_weights.astype(np.float64)
    unit = weights / np.linalg.norm(weights, axis=-1, keepdims=True)
    similarity = np.einsum("nzk,nyk->nzy", unit, unit).mean(axis=0)
    assert found.after.attention == pytest.approx(similarity, abs=1e-5)
    same = np.array([[a == b for b in found.regions] for a in found.regions])
    others = ~np.eye(len(texts), dtype=bool)
    assert np.array_equal(found.blocks, same)
    assert found.after.same_region == pytest.approx(similarity[same & others].mean(), abs=1e-5)
    assert found.after.other_regions == pytest.approx(similarity[~same].mean(), abs=1e-5)
    loss = region_contrastive_loss(torch.from_numpy(weights), torch.from_numpy(same).float())
    assert found.after.racl == pytest.approx(loss.item(), abs=1e-4)
    head = [index for index, region in enumerate(found.regions) if region == "head"]
    assert found.after.tokens[0] == pytest.approx(weights[:, head].mean(axis=(0, 1)), abs=1e-5)
    assert found.after.tokens.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-5)


def test_token_similarity_is_that_of_the_mix_tokens_of_each_image(recognizer, paths):
    found = before_and_after(recognizer, paths[:2])
    for model, state in ((initial_model(recognizer), found.before), (recognizer.model, found.after)):
        (crops,) = read_batches(paths[:2], recognizer.config.model.image_size, [[0, 1]], workers=0)
        with torch.inference_mode():
            tokens = model.encode_image(normalise(to_unit(crops, torch.device("cpu")))).tokens.double().numpy()
        unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
        expected = (unit @ unit.transpose(0, 2, 1)).mean(axis=0)
        assert state.mix.shape == (6, 6)  # Two global and four local Mix Tokens.
        assert state.mix == pytest.approx(expected, abs=1e-5)
        assert state.mix_off_diagonal == pytest.approx(expected[~np.eye(6, dtype=bool)].mean(), abs=1e-5)
        loss = mix_diversity_loss(torch.from_numpy(tokens), eps=recognizer.config.loss.eps)
        assert state.lsim == pytest.approx(loss.item(), abs=1e-4)
    assert np.abs(found.before.mix - found.after.mix).max() > 1e-4


def test_texts_are_ordered_by_region_from_head_to_foot(recognizer, paths):
    found = before_and_after(recognizer, paths[:2])
    assert found.region_sizes == [("head", 2), ("lower", 2)]
    assert [text.phrase for text in found.texts] == ["red hat", "bare head", "bright trousers", "dark trousers"]


def test_weights_that_are_gone_leave_out_the_state_before(recognizer, paths, monkeypatch):
    monkeypatch.setattr(recognizer, "weights", "ViT-B-16.pt (sha256 5806e77cd80f)")
    with pytest.raises(FocusError):
        initial_model(recognizer)
    found = before_and_after(recognizer, paths[:2])
    assert found.before is None
    assert "CLIP weights" in found.before_missing


def test_without_attention_over_mix_tokens_there_is_nothing_to_compare(ablated_run, paths):
    assert before_and_after(Recognizer.from_checkpoint(ablated_run, device="cpu"), paths[:2]) is None
