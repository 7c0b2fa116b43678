"""Searches against a brute-force oracle: the model's own score of every crop, sorted."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from focuscli.errors import InputError, UsageError
from focuscli.tools.gallery import scan as scan_module
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.reader import open_gallery
from focuscli.tools.gallery.results import as_json, find, recall_lines, table_of

WORDS = ("hat", "red scarf", "green umbrella", "torn jacket")
QUERIES = [
    (["hat"], []),
    (["hat", "red scarf"], ["blue jeans"]),
    (["bare head"], []),
    (["green umbrella"], []),
    (["hat", "green umbrella"], ["blue jeans", "torn jacket"]),
]


def search(recognizer, folder, wanted, unwanted=(), k=9, where=None, **options):
    with open_gallery(folder, where=where, threads=2) as reader:
        return find(reader, lambda: recognizer, wanted, unwanted, k, threads=2, **options)


@torch.inference_mode()
def brute(recognizer, tokens, wanted, unwanted):
    """Every crop by the model's own score: an order of positions, values and scores [n, T]."""
    texts = [recognizer.text(words) for words in [*wanted, *unwanted]]
    scores = recognizer.model.score(torch.from_numpy(tokens).float(), recognizer.encode_texts(texts)).scores
    limits = [recognizer.threshold(text)[0] for text in texts]
    columns = tuple(range(len(texts)))
    query = Query(columns[: len(wanted)], columns[len(wanted) :], None if np.isnan(limits).any() else tuple(limits))
    values = query.values(scores.double().numpy())
    return np.lexsort((np.arange(len(values)), -values)), values, scores.numpy()


def check(answer, recognizer, tokens, wanted, unwanted, allowed=None):
    order, values, scores = brute(recognizer, tokens, wanted, unwanted)
    if allowed is not None:
        order = order[np.isin(order, allowed)]
    limit = 1e-5 * float(recognizer.model.clip.logit_scale.exp()) * scores.shape[1]
    found = np.array([int(path.stem) for path, _ in answer.images])
    assert len(set(found.tolist())) == len(found)
    assert np.allclose(answer.hits.values, values[order[: len(found)]], atol=limit)
    assert np.allclose(answer.hits.values, values[found], atol=limit)
    columns = [[*wanted, *unwanted].index(decision.text.phrase) for decision in answer.decisions]
    assert np.allclose(answer.hits.scores, scores[found][:, columns], atol=limit)
    return len(found)


@pytest.mark.parametrize("k", [1, 9, 1000])
@pytest.mark.parametrize(("wanted", "unwanted"), QUERIES)
def test_the_result_is_the_models_own_ranking(recognizer, features, store, tmp_path, k, wanted, unwanted):
    tokens = features(300, 6)
    folder = store(tmp_path / "g", recognizer, tokens, 128)
    found = search(recognizer, folder, [wanted], unwanted, k)
    assert check(found.answers[0], recognizer, tokens, wanted, unwanted) == min(k, 300)


@pytest.mark.parametrize(
    ("method", "changes"), [("focus", {"avfe": False}), ("focus", {"mgmt": False}), ("clip", {}), ("poar", {})]
)
def test_other_methods_are_ranked_by_their_own_score(build, features, store, tmp_path, method, changes):
    recognizer = build(method, **changes)
    tokens = features(150, len(recognizer.model.token_names))
    folder = store(tmp_path / "g", recognizer, tokens, 64)
    for wanted, unwanted in QUERIES:
        found = search(recognizer, folder, [wanted], unwanted)
        assert check(found.answers[0], recognizer, tokens, wanted, unwanted) == 9


def test_trained_texts_need_no_model(recognizer, features, store, tmp_path):
    folder = store(tmp_path / "g", recognizer, features(30, 6), 10)
    with open_gallery(folder) as reader:
        assert find(reader, lambda: pytest.fail("loaded"), [["hat"], ["Scarf"]], ["bare head"], 3).answers


def test_several_queries_in_one_pass(recognizer, features, store, tmp_path):
    tokens = features(200, 6)
    folder = store(tmp_path / "g", recognizer, tokens, 64)
    found = search(recognizer, folder, [[words] for words in WORDS], ["blue jeans"])
    for words, answer in zip(WORDS, found.answers, strict=True):
        assert check(answer, recognizer, tokens, [words], ["blue jeans"]) == 9


@pytest.mark.parametrize(("wanted", "unwanted"), [QUERIES[1], QUERIES[4]])
def test_only_crops_where_a_condition_holds(recognizer, features, store, tmp_path, wanted, unwanted):
    tokens = features(300, 6)
    folder = store(tmp_path / "g", recognizer, tokens, 128)
    where = 'size % 3 = 0 AND "Scarf" > 0 -- a comment'
    scarf = brute(recognizer, tokens, ["red scarf"], [])[2][:, 0]
    allowed = np.flatnonzero((scarf > 0) & (np.arange(300) % 3 == 0))
    assert 9 < len(allowed) < 100
    found = search(recognizer, folder, [wanted], unwanted, where=where)
    assert check(found.answers[0], recognizer, tokens, wanted, unwanted, allowed) == 9


@pytest.mark.parametrize("words", ["hat", "green umbrella"])
@pytest.mark.parametrize("fast", [False, True])
def test_the_best_crop_of_each_group(recognizer, features, store, tmp_path, monkeypatch, words, fast):
    monkeypatch.setattr(scan_module, "FAST_SAMPLE", 100)
    tokens = features(300, 6)
    groups = [None if row % 10 == 0 else f"track {row % 40}" for row in range(300)]
    folder = store(tmp_path / "g", recognizer, tokens, 128, groups)
    (answer,) = search(recognizer, folder, [[words]], k=12, per_group=True, fast=fast).answers
    expected, seen = [], set()
    for at in brute(recognizer, tokens, [words], [])[0]:
        if groups[at] is None or groups[at] not in seen:
            expected.append((at, groups[at]))
            seen.add(groups[at])
    assert [(int(path.stem), group) for path, group in answer.images] == expected[:12]


@pytest.mark.parametrize("words", ["hat", "green umbrella"])
def test_a_condition_may_be_true_by_chance(recognizer, features, store, tmp_path, words):
    folder = store(tmp_path / "g", recognizer, features(100, 6), 30)
    assert 3 < len(search(recognizer, folder, [[words]], k=100, where="random() < 0.5").answers[0].images) < 97


def test_groups_have_to_be_there(recognizer, features, store, tmp_path):
    folder = store(tmp_path / "g", recognizer, features(30, 6), 10)
    with pytest.raises(UsageError, match="has no groups") as caught:
        search(recognizer, folder, [["hat"]], per_group=True)
    assert "--group" in caught.value.hint


def test_fast_scores_a_part_of_the_crops_and_misses_little(recognizer, features, store, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_module, "FAST_SAMPLE", 500)
    tokens = features(2000, 6)
    folder = store(tmp_path / "g", recognizer, tokens, 512)
    scored = []
    original = scan_module.Scan._joined
    monkeypatch.setattr(
        scan_module.Scan,
        "_joined",
        lambda self, found, scores: scored.append(len(scores)) or original(self, found, scores),
    )
    found = search(recognizer, folder, [["green umbrella"], ["torn jacket", "hat"]], k=10, fast=True, check_recall=True)
    assert min(answer.recall for answer in found.answers) >= 0.6
    assert recall_lines(found)[0].startswith("green umbrella: --fast finds ")
    scored.clear()
    search(recognizer, folder, [["green umbrella"]], k=10, fast=True)
    assert sum(scored) < 500 + 2000 + 600  # the sample, all estimates, and about a tenth


def test_threads_and_processes_change_nothing(recognizer, features, store, tmp_path):
    folder = store(tmp_path / "g", recognizer, features(300, 6), 40)

    class Pair:
        """One of two processes that take turns here."""

        def __init__(self, rank):
            self.rank = rank

        def shard(self, items):
            return items[self.rank :: 2]

        def all_gather(self, value):
            shares.append(value)
            return shares

    before = torch.get_num_threads()
    whole = search(recognizer, folder, [["green umbrella"]]).answers[0].hits
    assert torch.get_num_threads() == before
    shares: list = []
    for rank in (0, 1):
        shared = search(recognizer, folder, [["green umbrella"]], process_group=Pair(rank)).answers[0].hits
    assert (shared.parts.tolist(), shared.rows.tolist()) == (whole.parts.tolist(), whole.rows.tolist())


@pytest.mark.parametrize("words", ["hat", "green umbrella"])
def test_equal_crops_are_ranked_by_position(recognizer, features, store, tmp_path, words):
    folder = store(tmp_path / "g", recognizer, np.repeat(features(1, 6), 90, axis=0), 40)
    (answer,) = search(recognizer, folder, [[words]], k=50).answers
    assert [int(path.stem) for path, _ in answer.images] == [*range(50)]


def damage_tokens(folder, change):
    file = folder / "tokens-00001.npy"
    tokens = np.load(file)
    np.save(file, change(tokens))


@pytest.mark.parametrize(
    ("words", "damage", "problem"),
    [
        ("umbrella", lambda folder: os.truncate(folder / "tokens-00001.npy", 900), "tokens-00001.npy is damaged"),
        ("umbrella", lambda folder: (folder / "tokens-00001.npy").unlink(), "tokens-00001.npy is missing"),
        ("umbrella", lambda folder: damage_tokens(folder, lambda x: x[:, :3]), "tokens-00001.npy holds float16"),
        ("umbrella", lambda folder: damage_tokens(folder, lambda x: x.astype(float)), "holds float64"),
        ("umbrella", lambda folder: damage_tokens(folder, lambda x: x * np.float16("nan")), "not a number"),
        ("hat", lambda folder: (folder / "crops-00001.parquet").write_bytes(b"PAR1"), "Parquet file of .* is damaged"),
        ("umbrella", lambda folder: os.truncate(folder / "crops-00001.parquet", 300), "Parquet file of .* is damaged"),
    ],
)
def test_a_damaged_file_is_named(recognizer, features, store, tmp_path, words, damage, problem):
    folder = store(tmp_path / "g", recognizer, features(100, 6), 40)
    damage(folder)
    with pytest.raises(InputError, match=problem) as caught:
        search(recognizer, folder, [[words]])
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("fast", [False, True])
def test_a_projection_that_is_damaged_costs_no_crop(recognizer, features, store, tmp_path, monkeypatch, fast):
    monkeypatch.setattr(scan_module, "FAST_SAMPLE", 20)
    folder = store(tmp_path / "g", recognizer, features(100, 6), 40)
    before = search(recognizer, folder, [["umbrella"]], k=3).answers[0].images
    np.save(folder / "projection-00001.npy", np.full((40, 64), np.nan, np.float16))
    assert search(recognizer, folder, [["umbrella"]], k=3, fast=fast).answers[0].images == before
    (folder / "projection-00001.npy").unlink()
    if fast:
        with pytest.raises(InputError, match=r"projection-00001\.npy is missing"):
            search(recognizer, folder, [["umbrella"]], k=3, fast=True)


@pytest.mark.parametrize(
    "where",
    [
        "nosuch > 1",
        "size >",
        "path::INTEGER > 1",
        "size > 1) OR (true",
        "path IN (SELECT * FROM read_csv('/etc/passwd'))",
    ],
)
def test_a_condition_that_cannot_be_evaluated(recognizer, features, store, tmp_path, where):
    folder = store(tmp_path / "g", recognizer, features(30, 6), 10)
    if where.startswith("size > 1)"):  # the parentheses around it are not closed by it
        assert search(recognizer, folder, [["hat"]], where=where).answers
        return
    with pytest.raises(UsageError, match="--where") as caught:
        search(recognizer, folder, [["hat"]], where=where)
    assert "Hat, Scarf, Jeans" in caught.value.hint
    assert "\n\n" not in caught.value.problem


@pytest.mark.parametrize(
    ("wanted", "unwanted", "expected"),
    [
        (["rank", "image", "score"], [], ["rank (text)", "image (text)", "score"]),
        (["match", "hat"], [], ["hat", "match (text)"]),
        (["not hat"], ["hat"], ["not hat", "not hat (text)"]),
    ],
)
def test_a_text_that_is_called_as_a_column_is_told_apart(
    recognizer, features, store, tmp_path, wanted, unwanted, expected
):
    found = search(recognizer, store(tmp_path / "g", recognizer, features(30, 6), 10), [wanted], unwanted, k=2)
    header = table_of(found, found.answers)[0]
    assert sorted(header) == sorted(["rank", "match", *expected, "image"])


def test_several_queries_share_one_header(recognizer, features, store, tmp_path):
    folder = store(tmp_path / "g", recognizer, features(30, 6), 10, ["x"] * 30)
    several = search(recognizer, folder, [["hat"], ["red scarf"]], ["blue jeans"], k=3)
    header, *lines = table_of(several, several.answers, each=True)
    assert header == ["query", "rank", "match", "score", "not blue jeans", "group", "image"]
    for line, item in zip(lines, as_json(several), strict=True):
        assert line[0] == f"{item['query'][0]}, not blue jeans"
        assert [int(line[1]), float(line[2])] == [item["rank"], item["match"]]
        assert [float(line[3]), float(line[4])] == [item["scores"][item["query"][0]], item["scores"]["blue jeans"]]
        assert line[5:] == [item["group"], item["image"]]
