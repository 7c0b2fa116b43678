"""The public Python API: texts, scores, attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from focuscli.errors import UsageError


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (60, 30, 3)).astype(np.uint8)) for _ in range(3)]


def test_scores_follow_the_definition(recognizer, images):
    """exp(logit_scale) * cos(V, T), computed here from the model's own parts."""
    from focuscli.data.loader import normalise, resize_crop

    texts = ["red hat", "purple umbrella"]
    scores = recognizer.scores(images, texts)
    assert scores.shape == (3, 2)
    model = recognizer.model
    with torch.no_grad():
        pixels = normalise(torch.stack([resize_crop(i, (32, 16)) for i in images]), torch.device("cpu"))
        features = model.encode_texts([recognizer.text(text) for text in texts])
        values, _ = model.avfe(features, model.encode_image(pixels).tokens)
        cosine = torch.nn.functional.cosine_similarity(values, features.expand(3, -1, -1), dim=-1)
    assert np.allclose(scores, (cosine / 0.07).numpy(), atol=1e-3)
    assert recognizer.scores([]).shape == (0, 3)
    for batch in (1, 2):  # makes no difference
        assert np.abs(recognizer.scores(images, batch_size=batch) - recognizer.scores(images)).max() < 1e-4


def test_texts_their_regions_prompts_and_thresholds(recognizer):
    assert recognizer.text("RedHat") == recognizer.text(" Red  HAT ")
    assert recognizer.is_seen(recognizer.text("red hat"))
    assert recognizer.is_seen(recognizer.text("bare head"))
    # Declared in the schema but not evaluated, so never trained; its region is known all the same.
    assert not recognizer.is_seen(recognizer.text("blue shirt"))
    found = {}
    for words in ("red hat", "blue shirt", "torn blue shirt", "green scarf", "brown boots", "dusk"):
        text = recognizer.text(words)
        found[words] = (
            *(text.region, text.category, recognizer.vocabulary.region_source(text)),
            recognizer.model.prompt_source(text),
        )
    unseen = "mean of 3 (all, region unseen)"
    assert found == {
        "red hat": ("head", "accessory", "as declared in the schema", "its own"),
        "blue shirt": ("upper", "clothes", "as declared in the schema", unseen),
        "torn blue shirt": ("upper", "clothes", 'as "blue shirt" of the schema', unseen),
        "green scarf": ("head", "accessory", "guessed from its words", "mean of 1 (head)"),
        "brown boots": ("foot", "person", "guessed from its words", unseen),
        "dusk": ("whole", "person", "no known word", unseen),
    }
    lower = recognizer.text("green scarf", region="lower")
    assert (lower.region, recognizer.vocabulary.region_source(lower)) == ("lower", "as given")
    assert recognizer.threshold(recognizer.text("green scarf")) == (recognizer.thresholds["RedHat"], "mean of head")
    mean = pytest.approx(np.mean([*recognizer.thresholds.values()]))
    assert recognizer.threshold(recognizer.text("brown boots")) == (mean, "mean of all")
    for words, region, problem in (("scarf", "tail", "tail"), ("  ", None, "empty")):
        with pytest.raises(UsageError, match=problem):
            recognizer.text(words, region=region)


def test_heat_is_the_weighted_sum_of_the_token_maps(recognizer, images):
    attention = recognizer.attention(images, ["red hat", "dark trousers"])
    assert attention.heat.shape == (3, 2, 4, 2)
    assert attention.token_maps.shape == (3, 6, 4, 2)
    assert np.allclose(attention.token_weights.sum(axis=2), 1, atol=1e-5)
    weights, maps = attention.token_weights[..., None, None], attention.token_maps[:, None]
    assert np.allclose(attention.heat, (weights * maps).sum(axis=2), atol=1e-6)
    # Every map is a distribution over patches, so the heat is one too.
    assert np.allclose(attention.heat.sum(axis=(2, 3)), 1, atol=1e-4)
    # Local token i (after 2 global ones) reads stripe i of 4 rows only.
    for token in range(4):
        outside = np.delete(attention.token_maps[:, 2 + token], token, axis=1)
        assert (outside == 0).all()


def test_averaging_layers(recognizer, images):
    one, all_ = (recognizer.attention(images, ["red hat"], layers=layers) for layers in (1, 4))
    assert not np.allclose(one.token_maps, all_.token_maps)
    assert np.allclose(all_.token_maps.sum(axis=(2, 3)), 1, atol=1e-4)
    assert np.allclose(one.scores, all_.scores, atol=1e-4)
    with pytest.raises(UsageError, match="4 layers"):
        recognizer.attention(images, ["red hat"], layers=5)
