"""The same weights must give the same features here, in plain float64 formulas, and in four other libraries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from clip_impl.config import VIT_B_16
from clip_impl.convert import HUGGINGFACE, TIMM, to_openai_state_dict

TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def upright() -> Tensor:
    return torch.randn(1, 3, 256, 128, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def ours(build, vit_b_16: dict[str, Tensor], image: Tensor, upright: Tensor, ids: Tensor) -> dict[str, Tensor]:
    model = build(vit_b_16, VIT_B_16)
    images = {"image": model.encode_image(image), "upright": model.encode_image(upright)}
    return {**images, "text": model.encode_text(ids)}


@pytest.fixture(scope="module")
def exact(vit_b_16: dict[str, Tensor], image: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Features by the formulas of CLIP, written out in float64 (Radford et al. 2021, section 2.4)."""
    tensors = {name: tensor.double() for name, tensor in vit_b_16.items() if name != "token_embedding.weight"}
    visual = {name.removeprefix("visual."): t for name, t in tensors.items() if name.startswith("visual.")}
    patches = image.double().unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(1, 196, 768)
    patches = patches @ visual["conv1.weight"].reshape(768, 768).mT
    x = torch.cat([visual["class_embedding"].expand(1, 1, 768), patches], dim=1) + visual["positional_embedding"]
    x = plain_transformer(plain_norm(x, visual, "ln_pre"), visual, heads=12, mask=None)
    image_features = plain_norm(x[:, 0], visual, "ln_post") @ visual["proj"]
    words = vit_b_16["token_embedding.weight"][ids].double() + tensors["positional_embedding"]
    mask = torch.full((77, 77), -torch.inf, dtype=torch.float64).triu(1)
    x = plain_transformer(words, tensors, heads=8, mask=mask)
    x = plain_norm(x, tensors, "ln_final")[torch.arange(len(ids)), ids.argmax(dim=-1)]
    return {"image": image_features, "text": x @ tensors["text_projection"]}


def plain_norm(x: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    normed = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return normed * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def plain_transformer(x: Tensor, tensors: dict[str, Tensor], heads: int, mask: Tensor | None) -> Tensor:
    for layer in range(12):
        p = f"transformer.resblocks.{layer}."
        h = (
            plain_norm(x, tensors, f"{p}ln_1") @ tensors[f"{p}attn.in_proj_weight"].mT
            + tensors[f"{p}attn.in_proj_bias"]
        )
        query, key, value = (part.unflatten(-1, (heads, 64)).transpose(1, 2) for part in h.chunk(3, dim=-1))
        scores = query @ key.mT / 8
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        h = (weights @ value).transpose(1, 2).flatten(2)
        x = x + h @ tensors[f"{p}attn.out_proj.weight"].mT + tensors[f"{p}attn.out_proj.bias"]
        h = plain_norm(x, tensors, f"{p}ln_2") @ tensors[f"{p}mlp.c_fc.weight"].mT + tensors[f"{p}mlp.c_fc.bias"]
        h = h / (1 + (-1.702 * h).exp())
        x = x + h @ tensors[f"{p}mlp.c_proj.weight"].mT + tensors[f"{p}mlp.c_proj.bias"]
    return x


def assert_close(one: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> None:
    assert float((one.double() - other.double()).abs().max()) < tolerance


def assert_converted(theirs: nn.Module, layout: str, tensors: dict[str, Tensor]) -> None:
    """Their state dict gives the same tensors under OpenAI's names, bit by bit."""
    found, recognised = to_openai_state_dict(theirs.state_dict())
    assert recognised == layout
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_plain_formulas_in_float64(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    assert_close(ours["image"], exact["image"])
    assert_close(ours["text"], exact["text"])


@pytest.mark.filterwarnings("ignore")
def test_openai(openai_clip, vit_b_16: dict[str, Tensor], image, ids, ours) -> None:
    from clip.model import build_model as build_theirs

    theirs = build_theirs(dict(vit_b_16)).float().eval()
    assert_close(ours["image"], theirs.encode_image(image))
    assert_close(ours["text"], theirs.encode_text(ids))


@pytest.mark.filterwarnings("ignore")
def test_open_clip(vit_b_16: dict[str, Tensor], upright, ids, ours) -> None:
    open_clip = pytest.importorskip("open_clip")
    # Its own resampling of the positional embedding.
    theirs = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False, force_image_size=(256, 128)).eval()
    resized = dict(vit_b_16)
    open_clip.model.resize_pos_embed(resized, theirs)
    theirs.load_state_dict(resized, strict=True)
    assert_close(ours["upright"], theirs.encode_image(upright))
    assert_close(ours["text"], theirs.encode_text(ids))


@pytest.mark.filterwarnings("ignore")
def test_timm(in_layout, vit_b_16: dict[str, Tensor], image, upright, ours) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=512, dynamic_img_size=True).eval()
    bias = {"head.bias": torch.zeros(512)}
    converted = in_layout(vit_b_16, theirs.state_dict().keys() - bias, TIMM)
    theirs.load_state_dict({n: t.view_as(theirs.state_dict()[n]) for n, t in (converted | bias).items()}, strict=True)
    assert_converted(theirs, "timm", {name: t for name, t in vit_b_16.items() if name.startswith("visual.")})
    assert_close(ours["image"], theirs(image))
    assert_close(ours["upright"], theirs(upright))


@pytest.mark.filterwarnings("ignore")
def test_huggingface(in_layout, vit_b_16: dict[str, Tensor], image, ids, ours) -> None:
    transformers = pytest.importorskip("transformers")
    projection = {"projection_dim": 512}
    config = transformers.CLIPConfig(
        text_config={"eos_token_id": 49407, **projection}, vision_config={"patch_size": 16, **projection}, **projection
    )
    theirs = transformers.CLIPModel(config).eval()
    theirs.load_state_dict(in_layout(vit_b_16, theirs.state_dict(), HUGGINGFACE), strict=True)
    assert_converted(theirs, "huggingface", vit_b_16)
    output = theirs(input_ids=ids, pixel_values=image)
    # Its outputs are normalised.
    assert_close(nn.functional.normalize(ours["image"], dim=-1), output.image_embeds, TOLERANCE / 10)
    assert_close(nn.functional.normalize(ours["text"], dim=-1), output.text_embeds, TOLERANCE / 10)
