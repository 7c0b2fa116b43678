from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.scan import Searcher
from focuscli.tools.gallery.search import search
from focuscli.tools.gallery.synthetic import make_synthetic_gallery, make_world, synthetic_scorer, time_search


def test_features_are_as_the_docstring_says():
    """Tokens of a crop nearly orthogonal, heads of a text at one or two tokens; without `peak` at all alike."""
    maximum = {}
    for peak in (0.0, 1.0):
        tokens = make_world(0, peak=peak).tokens(300, 1)
        assert tokens.shape == (300, 12, 512)
        unit = torch.nn.functional.normalize(tokens.float(), dim=-1)
        cosines = unit @ unit.mT
        assert abs(float(cosines.sum((1, 2)).mean() - 12) / 132) < 0.05
        scorer = synthetic_scorer(0, texts=10, peak=peak)
        attention, _ = scorer.attention.attend(scorer.attention.project(tokens, scorer.functions), scorer.query)
        maximum[peak] = float(attention.amax(dim=2).mean())
    assert 0.7 < maximum[1.0] < 1
    assert maximum[0.0] < 0.5


def test_a_gallery_is_the_same_for_a_seed_and_can_be_searched(tmp_path):
    one, two, other = (
        make_synthetic_gallery(tmp_path / str(n), 300, seed, width=64) for n, seed in enumerate((1, 1, 2))
    )
    assert np.array_equal(one.tokens(0), two.tokens(0))
    assert not np.array_equal(one.tokens(0), other.tokens(0))
    scorer = synthetic_scorer(1, texts=3, width=64)
    (hits,) = search(Searcher(one, scorer), [Query((2,))], 4)
    scores = scorer.scores(torch.from_numpy(one.tokens(0)[:]), [2])[:, 0]
    assert hits.positions.tolist() == scores.argsort(descending=True)[:4].tolist()
    times = time_search(one, seed=1, k=5, rounds=2, texts_at_once=2)
    assert (times.crops, times.k, times.texts_at_once) == (300, 5, 2)
    assert times.exact[1] <= times.exact[0] <= times.exact[2]
    assert times.recall == pytest.approx((1, 1))
