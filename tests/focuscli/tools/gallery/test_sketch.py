"""What the first stage of a search reads: how it is stored, and estimates against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from focuscli.errors import InputError
from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.tools.gallery import search, sketch
from focuscli.tools.gallery.folded import FoldedAttention
from focuscli.tools.gallery.query import Query
from focuscli.tools.gallery.scan import Searcher
from focuscli.tools.gallery.scorer import FoldedScorer

HEADS, TOKENS, WIDTH, SIZE = 2, 3, 16, 8


def make_module() -> AttributeCrossAttention:
    module = AttributeCrossAttention(WIDTH, HEADS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.parameters():
            part.add_(torch.randn(part.shape, generator=generator), alpha=0.2)
    return module.requires_grad_(False)


@pytest.fixture
def folded():
    return FoldedAttention(make_module(), 100.0)


@pytest.fixture
def texts(folded):
    return folded.fold(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def tokens(features):
    return torch.from_numpy(features(50, TOKENS))


@pytest.fixture
def basis(folded, texts, tokens):
    return sketch.fit_basis(tokens, folded, texts, SIZE)


def test_codes_and_norms_are_as_described(folded, basis, tokens):
    codes, norms, _ = sketch.encode(tokens, basis, folded)
    assert codes.shape == (50, TOKENS, SIZE)
    assert norms.shape == (50, TOKENS, HEADS)
    expected = ((tokens.float() - basis.mean) @ basis.encode).round().clamp(-127, 127).numpy()
    assert (np.abs(codes - expected) <= 1).all()
    assert (codes == expected).mean() > 0.99  # of a value halfway between two codes the last digit decides
    products, _ = folded.token_products(tokens.float())
    lengths = torch.einsum("nhkhk->nkh", products) / basis.unit
    assert np.allclose(norms, lengths.numpy(), rtol=1e-3, atol=1e-6)


def test_the_first_look_is_the_models_score_to_first_order(folded, basis, texts, tokens):
    """Against derivatives that torch takes of the module itself, in double precision."""
    module = make_module().double()
    words = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)).double()  # as in `texts`

    def scores(mix):
        values, _ = module(words, mix[None])
        return 100 * torch.nn.functional.cosine_similarity(values[0], words, dim=-1)

    middle = basis.mean.double()
    slopes = torch.autograd.functional.jacobian(scores, middle)
    codes = torch.from_numpy(sketch.encode(tokens, basis, folded)[0])
    moved = (codes.float() @ basis.decode).double()
    expected = scores(middle)[:, None] + torch.einsum("zkd,nkd->zn", slopes, moved)
    found = sketch.first_look(codes, sketch.linear_texts(basis, texts, folded, integers=False))
    assert expected.std() > 5
    assert torch.allclose(found.double(), expected, atol=1e-3)
    rounded = sketch.first_look(codes, sketch.linear_texts(basis, texts, folded, integers=True))
    assert (rounded - found).abs().max() < 2.0


@pytest.mark.parametrize("integers", [False, True])
def test_functions_of_codes(integers, monkeypatch):
    monkeypatch.setattr(sketch, "CONVERTED", 24 * 700)  # more codes than are converted at once
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(5, 24, generator=generator) * torch.tensor([1e-6, 1.0, 30.0, 1e4, 0.0])[:, None]
    codes = torch.randint(-127, 128, (3_000, 24), generator=generator, dtype=torch.int8)
    found = sketch.Functions.of(weights, integers=integers)(codes)
    expected = weights.double() @ codes.double().T
    half_a_step = weights.abs().amax(dim=1, keepdim=True) / 254
    limit = half_a_step * codes.abs().sum(dim=1) if integers else 1e-5 * weights.abs().sum(dim=1, keepdim=True) * 127
    assert found.shape == (5, 3_000)
    assert ((found - expected).abs() <= 1.001 * limit + 1e-25).all()


def definition(tokens, texts, folded, basis):
    """Scores from decoded codes in double precision, |V|^2 as if what heads look at were orthogonal: [Z, n]."""
    codes = ((tokens.float() - basis.mean) @ basis.encode).round().clamp(-127, 127)
    again = (basis.mean + codes @ basis.decode).double()
    logits = torch.einsum("nkd,zhd->znhk", again, texts.keys.double())
    values = torch.einsum("nkd,zhd->znhk", again, texts.values.double())
    attention = logits.softmax(dim=-1)
    products, _ = folded.token_products(tokens.float())
    lengths = torch.einsum("nhkhk->nhk", products.double())
    above = (attention * values).sum(dim=(2, 3)) + texts.constant.double()[:, None]
    return folded.scale * above / (attention.square() * lengths).sum(dim=(2, 3)).sqrt()


@pytest.mark.parametrize(("integers", "limit"), [(False, 0.05), (True, 2.0)])
def test_estimates_are_what_they_are_said_to_be(folded, basis, texts, tokens, integers, limit):
    """The limits, of scores up to 100: half precision of the squares, and functions rounded to 1/127 of their largest."""
    codes, norms, _ = (torch.from_numpy(part) for part in sketch.encode(tokens, basis, folded))
    found = sketch.estimate(codes, norms, sketch.sketch_texts(basis, texts, integers=integers), texts, folded)
    expected = definition(tokens, texts, folded, basis)
    assert found.shape == (3, 50)
    assert expected.std() > 10
    assert (found.double() - expected).abs().max() < limit


def test_integer_products_are_used_only_where_they_are_right(monkeypatch):
    try:
        for answer, change in (
            (False, lambda a, b: (a.float() @ b.float()).clamp(-32768, 32767).int()),  # sums in 16 bits
            (True, lambda a, b: a.int() @ b.int()),
        ):
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
            monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
            monkeypatch.setattr(torch, "_int_mm", change)
            sketch.integer_products.cache_clear()
            assert sketch.integer_products() is answer
        monkeypatch.delattr(torch, "_int_mm")
        sketch.integer_products.cache_clear()
        assert not sketch.integer_products()
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        sketch.integer_products.cache_clear()
        assert not sketch.integer_products()
    finally:
        sketch.integer_products.cache_clear()


@pytest.fixture
def words(recognizer):
    """Features of more texts than are estimated at once."""
    texts = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("hat", "scarf", "jeans")]
    assert len(texts) > 2 * search.TEXTS_AT_ONCE
    return recognizer.encode_texts([recognizer.text(text) for text in texts])


def searcher_of(recognizer, gallery, words, threads=1):
    attention = FoldedAttention(recognizer.model.avfe, float(recognizer.model.clip.logit_scale.exp()))
    return Searcher(gallery, FoldedScorer(attention, words), threads)


def test_candidates_of_many_texts_are_those_of_each_alone(recognizer, features, store, tmp_path, words, monkeypatch):
    monkeypatch.setattr(search, "CROPS_AT_ONCE", 16)
    gallery = store(tmp_path / "g", recognizer, features(130, 6), 50)
    together = searcher_of(recognizer, gallery, words, threads=2)
    queries = [Query((column,)) for column in range(len(words))]
    found = search.find_candidates(together, queries, 20, range(gallery.shards))
    for column, hits in enumerate(found):
        alone = searcher_of(recognizer, gallery, words[[column]])
        (expected,) = search.find_candidates(alone, [Query((0,))], 20, range(gallery.shards))
        assert hits.positions.tolist() == expected.positions.tolist()
        assert np.allclose(hits.values, expected.values, atol=1e-4)


@pytest.mark.parametrize("query", [Query((2,)), Query((0, 4), (1,), (2.0, 0.5, 1.0))])
def test_in_a_large_gallery_only_a_share_is_estimated_and_the_best_of_it_are_found(
    recognizer, features, store, tmp_path, words, query, monkeypatch
):
    """Against the definition by brute force: the floor of the first look over a sample, then the best estimates above it."""
    count, size = 12, 500
    gallery = store(tmp_path / "g", recognizer, features(2_200, 6), size)
    searcher = searcher_of(recognizer, gallery, words)
    estimated = []
    estimate = sketch.estimate
    monkeypatch.setattr(sketch, "estimate", lambda codes, *rest: estimated.append(len(codes)) or estimate(codes, *rest))
    (found,) = search.find_candidates(searcher, [query], count, range(gallery.shards))
    groups = -(-len(words) // search.TEXTS_AT_ONCE)
    assert count <= sum(estimated) / groups < 2.5 * 2_200 / search.FIRST_SHARE

    basis = searcher.basis
    codes = torch.from_numpy(np.concatenate([gallery.sketch(shard, 8)[:] for shard in range(gallery.shards)]))
    norms = torch.from_numpy(np.concatenate([gallery.norms(shard, 4)[:] for shard in range(gallery.shards)]))
    texts, folded = searcher.scorer.query, searcher.scorer.attention
    sketched = sketch.sketch_texts(basis, texts)
    looks = query.values(sketch.first_look(codes, sketch.linear_texts(basis, texts, folded)).T[:, [*query.columns]])
    step = 2_200 // (search.FIRST_SHARE * count)
    assert step == 18
    taken = [row for start in range(0, 2_200, size) for row in range(start, min(start + size, 2_200), step)]
    floor = looks[taken].sort(descending=True).values[len(taken) // search.FIRST_SHARE - 1]
    values = query.values(estimate(codes, norms, sketched, texts, folded).T[:, [*query.columns]])
    values[looks < floor] = -torch.inf
    expected = np.lexsort((np.arange(2_200), -values.numpy()))[:count]
    assert sorted(found.positions.tolist()) == sorted(expected.tolist())


def test_a_gallery_that_is_sorted_by_score_still_gives_enough(recognizer, features, store, tmp_path, words):
    tokens = features(3_000, 6)
    searcher = searcher_of(recognizer, store(tmp_path / "a", recognizer, tokens, 3_000), words[:1])
    (ranked,) = search.search_exact(searcher, [Query((0,))], 3_000, range(1))
    sorted_by_score = store(tmp_path / "b", recognizer, tokens[ranked.positions], 3_000)
    searcher = searcher_of(recognizer, sorted_by_score, words[:1])
    (found,) = search.find_candidates(searcher, [Query((0,))], 20, range(1))
    assert len(found) == 20


def test_a_gallery_with_a_damaged_basis_says_what_to_do(recognizer, features, store, tmp_path, words):
    gallery = store(tmp_path / "g", recognizer, features(20, 6), 20)
    (tmp_path / "g" / gallery.manifest.basis).write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged") as caught:
        search.find_candidates(searcher_of(recognizer, gallery, words), [Query((0,))], 5, range(1))
    assert "--resume" in caught.value.hint


def test_no_crop_at_all_is_encoded_to_empty_arrays(folded, basis, tokens):
    codes, norms, floors = sketch.encode(tokens[:0], basis, folded)
    assert (codes.shape, norms.shape) == ((0, TOKENS, SIZE), (0, TOKENS, HEADS))
    assert floors.shape == (0, 3, TOKENS, HEADS)
