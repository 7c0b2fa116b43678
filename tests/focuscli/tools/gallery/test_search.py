"""Searches against a brute-force oracle: the model's own score of every crop, sorted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from focuscli.errors import InputError, UsageError
from focuscli.tools.gallery.folded import FoldedAttention
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.ranking import recall
from focuscli.tools.gallery.reader import open_gallery
from focuscli.tools.gallery.scan import Searcher, load_resident
from focuscli.tools.gallery.scorer import make_scorer
from focuscli.tools.gallery.search import find_candidates, rerank, search, search_exact
from focuscli.tools.gallery.team import Alone

WORDS = ("hat", "red scarf", "blue jeans", "green umbrella")
QUERIES = (
    Query((0,), (), (2.0,)),
    Query((3,), (), (None,)),
    Query((0, 3), (), (2.0, 0.7)),
    Query((1,), (2,), (1.0, -1.0)),
    Query((0, 1), (2, 3), (2.0, 1.0, -1.0, None)),
)


@torch.inference_mode()
def brute(recognizer, gallery, query):
    """Every crop by the model's own score, in the order that the query gives: positions and values."""
    mix = torch.cat([torch.from_numpy(gallery.tokens(shard)[:]) for shard in range(gallery.shards)]).float()
    texts = recognizer.encode_texts([recognizer.text(words) for words in WORDS])
    scores = recognizer.model.score(mix, texts).scores.double()
    values = query.values(scores[:, [*query.columns]]).numpy()
    return np.lexsort((np.arange(len(values)), -values)), values, scores.numpy()


def searcher_of(recognizer, gallery, **changes):
    texts = recognizer.encode_texts([recognizer.text(words) for words in WORDS])
    return Searcher(gallery, make_scorer(recognizer.model, texts), **changes)


def check(found, recognizer, gallery, query, k):
    order, values, scores = brute(recognizer, gallery, query)
    limit = 1e-5 * float(recognizer.model.clip.logit_scale.exp()) * len(query.columns)
    assert len(found) == min(k, gallery.crops)
    assert len(set(found.positions.tolist())) == len(found)
    assert np.allclose(found.values, values[order[: len(found)]], atol=limit)
    assert np.allclose(found.values, values[found.positions], atol=limit)
    assert np.allclose(found.scores, scores[found.positions][:, [*query.columns]], atol=limit)
    assert (np.diff(found.values) <= 0).all()


@pytest.mark.parametrize("k", [1, 7, 300, 1000])
@pytest.mark.parametrize("sketch", [8, 0])
def test_exact_search_is_the_models_own_ranking(recognizer, features, store, tmp_path, k, sketch):
    gallery = store(tmp_path / "g", recognizer, features(300, 6), 128, sketch=sketch)
    found = search(searcher_of(recognizer, gallery), QUERIES, k)
    for query, hits in zip(QUERIES, found, strict=True):
        check(hits, recognizer, gallery, query, k)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("focus", {"avfe": False}),
        ("focus", {"mgmt": False}),
        ("clip-ft", {}),
        ("clip", {}),
        ("poar", {}),
        ("focus", {"attention_heads": 1}),
    ],
)
def test_other_methods_are_ranked_by_their_own_score(build, features, store, tmp_path, method, changes):
    recognizer = build(method, **changes)
    gallery = store(tmp_path / "g", recognizer, features(150, len(recognizer.model.token_names)), 64)
    for query, hits in zip(QUERIES, search(searcher_of(recognizer, gallery), QUERIES, 9), strict=True):
        check(hits, recognizer, gallery, query, 9)


def test_few_crops_are_finished_where_bounds_say_enough(build, features, store, tmp_path, monkeypatch):
    """Or the sketch's floors would be of no use, and nothing else would show it."""
    recognizer = build()
    recognizer.model.avfe.query.weight.mul_(20)  # heads that look at one token each, as trained ones do
    gallery = store(tmp_path / "g", recognizer, features(4000, 6), 4000)
    finished = []
    finish = FoldedAttention.finish
    monkeypatch.setattr(
        FoldedAttention,
        "finish",
        lambda self, tokens, rows, *rest: finished.append(len(rows)) or finish(self, tokens, rows, *rest),
    )
    query = QUERIES[0]
    (hits,) = search(searcher_of(recognizer, gallery), [query], 5)
    with_bounds, finished[:] = sum(finished), []
    check(hits, recognizer, gallery, query, 5)
    plain = replace(gallery, manifest=replace(gallery.manifest, basis=None))
    (again,) = search(searcher_of(recognizer, plain), [query], 5)
    assert again.positions.tolist() == hits.positions.tolist()
    first = 2048  # crops of the first block, before which there is nothing to compare with
    assert with_bounds - first < 0.5 * (sum(finished) - first)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.lists(st.integers(0, 2), min_size=3, max_size=3), k=st.integers(1, 40))
def test_any_dealing_out_of_shards_gives_the_same(recognizer, gallery, owners, k):
    """As threads, processes or machines do: to the last bit."""
    searcher, queries = searcher_of(recognizer, gallery), QUERIES[2:4]
    for two_stage in (False, True):
        whole = search(searcher, queries, k, two_stage=two_stage)
        shared = search(searcher, queries, k, two_stage=two_stage, team=Pretended(searcher, queries, k, owners))
        for one, other in zip(whole, shared, strict=True):
            assert one.positions.tolist() == other.positions.tolist()
            assert one.values.tolist() == other.values.tolist()


class Pretended(Alone):
    """A team of three of which this process plays the first, and works out what the others would have said."""

    def __init__(self, searcher, queries, k, owners):
        self.shards = [[shard for shard, owner in enumerate(owners) if owner == rank] for rank in range(3)]
        self.searcher, self.queries, self.k = searcher, queries, k
        self.stage = 0

    def shard(self, items):
        return self.shards[0]

    def all_gather(self, value):
        self.stage += 1
        others = self.shards[1:]
        if any(part.scores.shape[1] for part in value):
            if self.stage == 1:
                return [value, *(search_exact(self.searcher, self.queries, self.k, shards) for shards in others)]
            return [value, *(rerank(self.searcher, self.queries, self.k, self.chosen, shards) for shards in others)]
        parts = [value, *(find_candidates(self.searcher, self.queries, 1000, shards) for shards in others)]
        from focuscli.tools.gallery.ranking import merge

        self.chosen = [merge(part, 1000) for part in zip(*parts, strict=True)]
        return parts


def test_threads_change_nothing(recognizer, gallery):
    before = torch.get_num_threads()
    one, three = (search(searcher_of(recognizer, gallery, threads=threads), QUERIES, 20) for threads in (1, 3))
    assert torch.get_num_threads() == before
    for left, right in zip(one, three, strict=True):
        assert left.positions.tolist() == right.positions.tolist()
        assert left.values.tolist() == right.values.tolist()


def test_resident_tokens_give_the_same(recognizer, gallery):
    resident = load_resident(gallery, torch.device("cpu"))
    for two_stage in (False, True):
        plain = search(searcher_of(recognizer, gallery), QUERIES, 20, two_stage=two_stage)
        held = search(searcher_of(recognizer, gallery, resident=resident), QUERIES, 20, two_stage=two_stage)
        assert [hits.positions.tolist() for hits in plain] == [hits.positions.tolist() for hits in held]


def test_equal_crops_are_ranked_by_position_and_none_is_dropped(recognizer, features, store, tmp_path):
    same = np.repeat(features(1, 6), 90, axis=0)
    gallery = store(tmp_path / "g", recognizer, same, 40)
    for two_stage in (False, True):
        (hits,) = search(searcher_of(recognizer, gallery), QUERIES[:1], 50, two_stage=two_stage)
        assert hits.positions.tolist() == [*range(50)]


def test_two_stages_rank_their_candidates_exactly_and_miss_little(recognizer, features, store, tmp_path, monkeypatch):
    monkeypatch.setattr("focuscli.tools.gallery.search.LEAST_CANDIDATES", 1)
    monkeypatch.setattr("focuscli.tools.gallery.search.CANDIDATES_PER_HIT", 10)
    gallery = store(tmp_path / "g", recognizer, features(3000, 6), 1000, sketch=14)
    searcher = searcher_of(recognizer, gallery)
    queries = [Query((column,), (), (0.0,)) for column in range(len(WORDS))]
    quick, exact = search(searcher, queries, 20, two_stage=True), search(searcher, queries, 20)
    for found, best, query in zip(quick, exact, queries, strict=True):
        assert recall(found, best) >= 0.8
        _, values, _ = brute(recognizer, gallery, query)
        assert np.allclose(found.values, values[found.positions], atol=1e-4)
    candidates = find_candidates(searcher, queries, 200, searcher.all_shards)
    assert all(len(part) == 200 for part in candidates)


def test_two_stages_need_a_sketch(build, features, store, tmp_path):
    recognizer = build("clip-ft")
    gallery = store(tmp_path / "g", recognizer, features(20, 1), 8)
    with pytest.raises(UsageError, match="--exact"):
        search(searcher_of(recognizer, gallery), QUERIES[:1], 5, two_stage=True)


def test_progress_reaches_the_end(recognizer, gallery):
    seen = []
    search(searcher_of(recognizer, gallery, threads=2), QUERIES[:1], 5, progress=lambda *step: seen.append(step))
    assert seen[-1] == (300, 300)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("kind", ["tokens.npy", "floors.npy", "sketch.npy", "norms.npy", "crops.jsonl"])
@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_truncated_shard_is_named(recognizer, gallery, kind, left):
    file = sorted(gallery.folder.glob(f"*.{kind}"))[1]
    file.write_bytes(file.read_bytes()[: int(left * file.stat().st_size)])
    with pytest.raises(InputError, match=file.name) as caught:
        (hits,) = search(
            searcher_of(recognizer, open_gallery(gallery.folder)),
            QUERIES[:1],
            300,
            two_stage=kind in ("sketch.npy", "norms.npy"),
        )
        gallery.paths(hits.positions)
    assert "--resume" in str(caught.value.hint)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("method", "kind", "two_stage"),
    [("focus", "tokens", False), ("focus", "tokens", True), ("focus", "norms", True), ("clip-ft", "tokens", False)],
)
def test_what_is_no_number_is_named(build, features, store, tmp_path, method, kind, two_stage, value):
    """Or its crop would be missing without a word."""
    recognizer = build(method)
    gallery = store(tmp_path / "g", recognizer, features(300, len(recognizer.model.token_names)), 128)
    file = sorted(gallery.folder.glob(f"*.{kind}.npy"))[1]
    values = np.load(file)
    values[7] = np.nan if kind == "norms" else value
    np.save(file, values)
    shard = file.name.partition(".")[0]
    with pytest.raises(InputError, match=rf"{shard}.*: damaged, the score of crop 7 is not a number") as caught:
        search(searcher_of(recognizer, gallery, threads=2), QUERIES, 5, two_stage=two_stage)
    assert f"{gallery.folder}/{shard}.*" in str(caught.value)
    assert "remove these files" in str(caught.value.hint)


def test_floors_that_are_no_numbers_cost_no_crop(recognizer, gallery):
    before = search(searcher_of(recognizer, gallery), QUERIES, 5)
    file = sorted(gallery.folder.glob("*.floors.npy"))[1]
    np.save(file, np.full_like(np.load(file), np.nan))
    for one, other in zip(before, search(searcher_of(recognizer, gallery), QUERIES, 5), strict=True):
        assert one.positions.tolist() == other.positions.tolist()


@pytest.mark.parametrize("line", [b"", b"17\n", b'{"path": 3}\n', b"[1, 2, 3]\n"])
def test_a_damaged_line_of_a_list_is_named(gallery, line):
    file = sorted(gallery.folder.glob("*.crops.jsonl"))[1]
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], line, *lines[4:]]))
    with pytest.raises(InputError, match=file.name) as caught:
        gallery.paths(np.arange(130, 140))
    assert "--resume" in str(caught.value.hint)


def test_positions_lead_back_to_files(gallery):
    everything = gallery.paths(np.arange(300))
    assert [path.name for path in everything] == [f"{number:04}.png" for number in range(300)]
    shuffled = np.array([299, 0, 128, 127, 255, 0])
    assert gallery.paths(shuffled) == [everything[position] for position in shuffled]
    shards, rows = gallery.locate(shuffled)
    assert list(itertools.chain(zip(shards.tolist(), rows.tolist(), strict=True))) == [
        (2, 43), (0, 0), (1, 0), (0, 127), (1, 127), (0, 0),
    ]  # fmt: skip
