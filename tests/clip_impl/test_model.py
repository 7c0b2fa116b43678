"""What the towers do beyond encoding: other sizes, extra tokens, masks, attention weights, reduced precision, gradients."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_impl import TINY, VIT_B_16, TextConfig, VisionConfig, tokenize
from clip_impl.layers import MLP, Attention, LayerNorm
from clip_impl.model import CLIP, end_of_text_index, resample_positional_embedding


@pytest.fixture(scope="module")
def model(build, small: dict[str, Tensor]) -> CLIP:
    return build(small)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def close(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((one - other).abs().max() < tolerance)


@pytest.mark.parametrize(("config", "count"), [(VIT_B_16, 149_620_737), (TINY, 4_126_529)])
def test_presets(config, count):
    with torch.device("meta"):
        made = CLIP(config)
    assert made.visual(torch.empty(2, 3, *config.vision.image_size, device="meta")).shape == (2, config.embed_dim)
    assert sum(parameter.numel() for parameter in made.parameters()) == count


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model: VisionConfig(image_size=(224, 225)), "nearest that does: 224 x 224"),
        (lambda model: VisionConfig(image_size=(0, 16)), "nearest that does: 16 x 16"),
        (lambda model: model.encode_image(torch.zeros(1, 3, 8, 16)), "nearest that does: 16 x 16"),
        (lambda model: VisionConfig(width=100, heads=3), "vision tower: no 12 layers of width 100 with 3 heads"),
        (lambda model: TextConfig(width=64, heads=0), "text tower: no 12 layers of width 64 with 0 heads"),
        (
            lambda model: model.encode_text_embeddings(torch.zeros(1, 78, 64), torch.tensor([3])),
            "78 tokens are more than the context length 77",
        ),
    ],
)
def test_refusals(make, message, model):
    with pytest.raises(ValueError, match=message):
        make(model)


def untrimmed(model: CLIP, ids: Tensor) -> Tensor:
    """Features from the text tower run on the whole context."""
    return model.encode_text_embeddings(model.token_embedding(ids), end_of_text_index(ids))


def test_trimming_is_exact_for_every_length(model):
    ids = tokenize([" ".join(["hat"] * count) for count in (0, 1, 74, 75)])
    for row in ids:
        assert close(model.encode_text(row[None]), untrimmed(model, row[None]))
    assert model.encode_text(ids[:0]).shape == (0, 96)
    assert model.encode_image(torch.zeros(0, 3, 64, 64)).shape == (0, 96)


def test_what_follows_the_end_of_text_is_invisible(model, ids):
    changed = ids.clone()
    for row, end in enumerate(end_of_text_index(ids).tolist()):
        changed[row, end + 1 :] = torch.randint(0, 49406, (76 - end,))
    assert close(untrimmed(model, changed), untrimmed(model, ids))
    padded = torch.where(ids == 0, 49407, ids)  # As Hugging Face pads.
    assert close(model.encode_text(padded), model.encode_text(ids))
    # A token that somebody added after the vocabulary does not end the text.
    assert end_of_text_index(torch.tensor([[49406, 7, 9, 4, 0], [49406, 49408, 9, 49407, 0]])).tolist() == [0, 3]


def test_resampling_works_in_half_precision_and_under_autocast(model):
    embedding = model.visual.positional_embedding
    assert resample_positional_embedding(embedding, (4, 4), (4, 4)) is embedding
    wanted = resample_positional_embedding(embedding, (4, 4), (8, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample_positional_embedding(embedding, (4, 4), (8, 4)), wanted)
    half = resample_positional_embedding(embedding.bfloat16(), (4, 4), (8, 4))
    assert half.dtype == torch.bfloat16
    assert close(half.float(), wanted, 0.01)


def test_prefix_tokens_that_nobody_sees_change_nothing(model, images):
    plain = model.visual.forward_features(images, all_tokens=True).tokens
    prefix = torch.randn(2, 128)
    mask = torch.ones(19, 19, dtype=torch.bool)
    mask[2:, :2] = False  # Image tokens do not attend to the prefix.
    got = model.visual.forward_features(images, prefix, mask, all_tokens=True).tokens
    assert got.shape == (3, 19, 128)
    assert close(got[:, 2:], plain)
    seen = model.visual.forward_features(images, prefix, all_tokens=True).tokens
    assert not close(seen[:, 2:], plain, 1e-3)


@pytest.mark.parametrize("how", ["everywhere", "mask", "causal"])
def test_attention_equals_torchs_module(how):
    torch.manual_seed(0)
    ours, theirs = Attention(32, 4), torch.nn.MultiheadAttention(32, 4, batch_first=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 9, 32)
    some = (torch.rand(9, 9) < 0.6).fill_diagonal_(True)
    mask = {"everywhere": torch.ones_like(some), "mask": some, "causal": torch.ones_like(some).tril()}[how]
    wanted, wanted_weights = theirs(x, x, x, attn_mask=~mask, average_attn_weights=False)
    options = [{"mask": mask, "output_tokens": rows} for rows in (None, slice(0, 1), slice(2, 5))]
    options += [{}, {"output_tokens": slice(2, 5)}] if how == "everywhere" else []
    for option in options:
        rows = option.get("output_tokens") or slice(None)
        fast, nothing = ours(x, **option)
        slow, weights = ours(x, **option, need_weights=True)
        assert nothing is None
        assert close(fast, wanted[:, rows])
        assert close(slow, wanted[:, rows])
        assert close(weights, wanted_weights[:, :, rows])
    assert how != "causal" or close(ours(x, causal=True)[0], wanted)


@pytest.mark.parametrize("prefix_length", [0, 2])
def test_some_tokens_are_those_of_all_tokens(prefix_length, model, images):
    prefix = torch.randn(prefix_length, 128) if prefix_length else None
    mask = (torch.rand(17 + prefix_length, 17 + prefix_length) < 0.7).fill_diagonal_(True)
    every = model.visual.forward_features(images, prefix, mask, attention_layers=2, all_tokens=True)
    some = model.visual.forward_features(images, prefix, mask, attention_layers=2)
    first = prefix_length or 1
    assert some.tokens.shape == (3, first, 128)
    assert close(some.tokens, every.tokens[:, :first])
    assert close(some.attention[-1], every.attention[-1][:, :, :first])
    assert [weights.shape[1:] for weights in every.attention] == [(2, *mask.shape)] * 2
    assert every.grid == (4, 4)
    plain = model.visual.forward_features(images, prefix, mask, all_tokens=True)
    assert plain.attention == []
    assert close(plain.tokens, every.tokens)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_activations_are_their_formulas(activation):
    with torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        mlp = MLP(32, activation)
        x = torch.randn(2, 5, 32, requires_grad=True)
        hidden = mlp.c_fc(x)
        share = torch.sigmoid(1.702 * hidden) if activation == "quick_gelu" else torch.special.ndtr(hidden)
        plain = mlp.c_proj(hidden * share)
        (wanted,) = torch.autograd.grad(plain.square().sum(), x)
        got = mlp(x)
        (gradient,) = torch.autograd.grad(got.square().sum(), x)
        with torch.no_grad():
            assert close(mlp(x), plain)
        assert close(got, plain)
        assert close(gradient, wanted)


def test_bfloat16_is_close(model, images, ids):
    half = copy.deepcopy(model).bfloat16()
    for encode, rough, given in (
        (model.encode_image, half.encode_image, images),
        (model.encode_text, half.encode_text, ids),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = [rough(given), encode(given)]
        for features in (*found, rough(given)):
            assert features.dtype == torch.bfloat16
            assert F.cosine_similarity(encode(given), features.float(), dim=-1).min() > 0.999


def test_layer_norm_of_another_dtype_is_computed_in_fp32():
    norm = LayerNorm(16)
    torch.nn.init.normal_(norm.weight)
    x = 1000 + torch.randn(4, 16).bfloat16()
    wanted = F.layer_norm(x.float(), (16,), norm.weight, norm.bias, 1e-5).bfloat16()
    assert torch.equal(norm(x), wanted)
    assert norm(x).dtype == torch.bfloat16


def test_gradient_checkpointing_gives_the_same_gradients(build, small, images, ids):
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        gradients = []
        for checkpointing in (False, True):
            made = build(small).train()
            for tower in (made.transformer, made.visual.transformer):
                tower.gradient_checkpointing = checkpointing
            logits, _ = made(images.clone(), ids.clone())
            logits.square().mean().backward()
            assert all(parameter.grad is not None for parameter in made.parameters())
            gradients.append({name: parameter.grad for name, parameter in made.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-6), name
        assert gradient.abs().max() > 0, name
