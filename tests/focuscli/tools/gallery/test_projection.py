"""The projection estimates what it is there for, and says so when its file is damaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.tools.gallery.folded import token_scorer
from focuscli.tools.gallery.projection import fit_projection, linearise

CPU = torch.device("cpu")


@pytest.fixture
def score(recognizer):
    return token_scorer(recognizer.model, recognizer.encode_texts(recognizer.attributes))


def test_linear_functions_of_trained_texts_are_kept(features, score):
    """With fewer trained texts than directions, the estimate is the linearised score."""
    tokens = features(900, 6)
    projection = fit_projection(tokens, score, CPU)
    assert projection.encode.shape == projection.decode.shape == (64, 96)
    assert projection.crops == 900
    codes = projection.project(tokens)
    assert codes.dtype == np.float16
    assert codes.std(axis=0, dtype=np.float32) == pytest.approx(np.ones(64), abs=0.05)
    at_mean, gradients = linearise(score, projection.mean)
    linear = at_mean + (torch.from_numpy(tokens).float() - projection.mean).flatten(1) @ gradients.T
    estimated = projection.estimator(score, CPU)(torch.from_numpy(codes))
    assert (estimated - linear).std() < 0.03 * linear.std()


def test_few_or_equal_crops_are_projected_to_finite_numbers(features, score):
    for tokens in (features(1, 6), features(5, 6), np.repeat(features(1, 6), 40, axis=0)):
        projection = fit_projection(tokens, score, CPU)
        assert np.isfinite(projection.project(features(20, 6, seed=3))).all()
