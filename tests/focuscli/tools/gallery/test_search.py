"""Searches against a brute-force oracle: the model's own score of every crop, sorted."""

from __future__ import annotations

import os
from itertools import chain

import numpy as np
import pytest
import torch

from focuscli.errors import InputError, UsageError
from focuscli.inference.predict import decide
from focuscli.tools.gallery import folded
from focuscli.tools.gallery import search as module
from focuscli.tools.gallery.query import Query, open_gallery
from focuscli.tools.gallery.search import find
from focuscli.tools.gallery.store import read_gallery

QUERIES = [
    (["hat"], []),
    (["hat", "red scarf"], ["blue jeans"]),
    (["bare head"], []),
    (["green umbrella"], []),
    (["hat", "green umbrella"], ["blue jeans", "torn jacket"]),
]


def search(recognizer, folder, wanted, unwanted=(), k=9, where=None, **options):
    with open_gallery(folder, where=where, threads=2) as reader:
        trained = {text.phrase for text in recognizer.vocabulary.trained}
        load = pytest.fail if trained.issuperset([*chain(*wanted), *unwanted]) else lambda: recognizer
        return find(reader, load, wanted, unwanted, k, threads=2, **options)[0]


@torch.inference_mode()
def brute(recognizer, tokens, wanted, unwanted):
    """Every crop by the model's own score: an order of positions, values and scores [n, T]."""
    texts = [recognizer.text(words) for words in [*wanted, *unwanted]]
    scores = recognizer.model.score(torch.from_numpy(tokens).float(), recognizer.encode_texts(texts)).scores
    decisions = tuple(decide(recognizer.vocabulary, texts))
    values = Query(decisions[: len(wanted)], decisions[len(wanted) :]).values(scores.double().numpy())
    return np.lexsort((np.arange(len(values)), -values)), values, scores.numpy()


def check(answer, recognizer, tokens, wanted, unwanted, allowed=None):
    order, values, scores = brute(recognizer, tokens, wanted, unwanted)
    if allowed is not None:
        order = order[np.isin(order, allowed)]
    limit = 1e-5 * float(recognizer.model.clip.logit_scale.exp()) * scores.shape[1]
    found = np.array([int(hit.image.stem) for hit in answer.hits])
    assert len(set(found.tolist())) == len(found)
    own = [hit.value for hit in answer.hits]
    assert np.allclose(own, values[order[: len(found)]], atol=limit)
    assert np.allclose(own, values[found], atol=limit)
    columns = [[*wanted, *unwanted].index(decision.text.phrase) for decision in answer.query.decisions]
    assert np.allclose([hit.scores for hit in answer.hits], scores[found][:, columns], atol=limit)
    return len(found)


@pytest.mark.parametrize("k", [1, 9, 1000])
@pytest.mark.parametrize(("wanted", "unwanted"), QUERIES)
def test_the_result_is_the_models_own_ranking(recognizer, features, store, k, wanted, unwanted):
    tokens = features(300, 6)
    folder = store(recognizer, tokens, 128)
    found = search(recognizer, folder, [wanted], unwanted, k)
    assert check(found[0], recognizer, tokens, wanted, unwanted) == min(k, 300)


@pytest.mark.parametrize(("wanted", "unwanted"), [QUERIES[1], QUERIES[4]])
def test_only_crops_where_a_condition_holds(recognizer, features, store, wanted, unwanted):
    tokens = features(300, 6)
    folder = store(recognizer, tokens, 128)
    where = 'size % 3 = 0 AND "Scarf" > 0 -- a comment'
    read_gallery(folder).parts[1].keep([*range(1, 128, 2)])  # its lines are not rows of its tokens any more
    scarf, rows = brute(recognizer, tokens, ["red scarf"], [])[2][:, 0], np.arange(300)
    allowed = np.flatnonzero((scarf > 0) & (rows % 3 == 0) & ((rows // 128 != 1) | (rows % 2 == 1)))
    assert 9 < len(allowed) < 100
    found = search(recognizer, folder, [wanted], unwanted, where=where)
    assert check(found[0], recognizer, tokens, wanted, unwanted, allowed) == 9


@pytest.mark.parametrize("words", ["hat", "green umbrella"])
@pytest.mark.parametrize("fast", [False, True])
def test_the_best_crop_of_each_group(recognizer, features, store, monkeypatch, words, fast):
    monkeypatch.setattr(module, "FAST_SAMPLE", 100)
    tokens = features(300, 6)
    groups = [None if row % 10 == 0 else f"track {row % 40}" for row in range(300)]
    (answer,) = search(recognizer, store(recognizer, tokens, 128, groups), [[words]], k=12, per_group=True, fast=fast)
    expected, seen = [], set()
    for at in brute(recognizer, tokens, [words], [])[0]:
        if groups[at] is None or groups[at] not in seen:
            expected.append((at, groups[at]))
            seen.add(groups[at])
    assert [(int(hit.image.stem), hit.group) for hit in answer.hits] == expected[:12]
    with pytest.raises(UsageError, match="has no groups"):
        search(recognizer, store(recognizer, tokens, 300), [["hat"]], per_group=True)


@pytest.mark.parametrize("words", ["hat", "green umbrella"])
def test_conditions_by_chance_and_equal_crops(recognizer, features, store, words):
    """Equal crops are ranked by position."""
    folder = store(recognizer, np.repeat(features(1, 6), 90, axis=0), 40)
    (answer,) = search(recognizer, folder, [[words]], k=50)
    assert [int(hit.image.stem) for hit in answer.hits] == [*range(50)]
    assert 3 < len(search(recognizer, folder, [[words]], k=100, where="random() < 0.5")[0].hits) < 87


def test_fast_scores_a_part_of_the_crops_and_misses_little(recognizer, features, store, monkeypatch):
    monkeypatch.setattr(module, "FAST_SAMPLE", 500)
    folder = store(recognizer, features(2000, 6), 512)
    scored, original = [], folded.token_scorer

    def counting(*model):
        score = original(*model)
        return lambda tokens: scored.append(len(tokens)) or score(tokens)

    monkeypatch.setattr(folded, "token_scorer", counting)
    queries = [["green umbrella"], ["torn jacket", "hat"]]
    assert min(answer.recall for answer in search(recognizer, folder, queries, k=10, fast=True, recall=True)) >= 0.6
    scored.clear()
    search(recognizer, folder, [["green umbrella"]], k=10, fast=True)
    assert sum(scored) < 600  # about a tenth


def test_a_projection_that_is_damaged_costs_no_crop(recognizer, features, store, monkeypatch):
    monkeypatch.setattr(module, "FAST_SAMPLE", 20)
    folder = store(recognizer, features(100, 6), 40)
    before = search(recognizer, folder, [["umbrella"]], k=3)[0].hits
    np.save(folder / "projection-00001.npy", np.full((40, 64), np.nan, np.float16))
    fast = search(recognizer, folder, [["umbrella"]], k=3, fast=True)[0].hits
    assert [hit.image for hit in fast] == [hit.image for hit in before]
    (folder / "projection-00001.npy").unlink()
    assert search(recognizer, folder, [["umbrella"]], k=3)[0].hits == before
    with pytest.raises(InputError, match=r"projection-00001\.npy is missing"):
        search(recognizer, folder, [["umbrella"]], k=3, fast=True)


def test_conditions_that_cannot_be_evaluated(recognizer, features, store):
    folder = store(recognizer, features(30, 6), 10)
    file = "path IN (SELECT * FROM read_csv('/etc/passwd'))"
    for where in ("nosuch > 1", "size >", "path::INTEGER > 1", file, "size > 1); DROP TABLE crops; SELECT (1"):
        with pytest.raises(UsageError, match="--where") as caught:
            search(recognizer, folder, [["hat"]], where=where)
        assert "Hat, Scarf, Jeans" in caught.value.hint
    assert not search(recognizer, folder, [["green umbrella"]], where="size < 0")[0].hits


@pytest.mark.parametrize(
    ("words", "name", "content", "problem"),
    [
        ("umbrella", "tokens-00001.npy", None, "tokens-00001.npy is missing or"),
        ("umbrella", "tokens-00001.npy", lambda tokens: tokens[:, :3], "damaged: float16"),
        ("umbrella", "tokens-00001.npy", lambda tokens: tokens * np.float16("nan"), "not a number"),
        ("hat", "crops-00001.parquet", None, "Parquet file of .* is damaged"),
    ],
)
def test_a_damaged_file_is_named(recognizer, features, store, words, name, content, problem):
    folder = store(recognizer, features(100, 6), 40)
    if content is None:
        os.truncate(folder / name, 300)
    else:
        np.save(folder / name, content(np.load(folder / name)))
    with pytest.raises(InputError, match=problem) as caught:
        search(recognizer, folder, [[words]])
    assert "--resume" in caught.value.hint
