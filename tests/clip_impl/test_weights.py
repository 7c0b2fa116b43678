"""Reading weight files of any layout, their shape and activation, and the model that `load` builds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import clip_impl
from clip_impl.config import CLIPConfig
from clip_impl.containers import WeightsError
from clip_impl.convert import HUGGINGFACE, to_openai_state_dict
from clip_impl.model import CLIP
from clip_impl.weights import infer_activation, infer_config, load, read_state_dict

Tensors = dict[str, Tensor]
ONE = torch.ones(1)


@pytest.fixture
def file(small: Tensors, tmp_path: Path) -> Path:
    return save(small, tmp_path / "clip-openai.pt")


def save(tensors: object, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def assert_same(found: Tensors, wanted: Tensors) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def custom_text(tensors: Tensors) -> Tensors:
    return {n if n.startswith(("visual.", "logit_scale")) else f"text.{n}": tensor for n, tensor in tensors.items()}


def prompt_par(tensors: Tensors) -> Tensors:
    """What PromptPAR saves: its own head, and a CLIP with prompts."""
    prompts = {"visual.transformer.prompt_deep": ONE, "transformer.prompt_text_deep": ONE, "agg_bn.weight": ONE}
    prompts |= {"visual.part_class_embedding": ONE, "softmax_model.temperature": ONE}
    return {"model_state_dict.norm.weight": ONE} | prefixed({**tensors, **prompts}, "clip_model.")


# Layout -> its tensors, its name, and how many of them are not CLIP's.
LAYOUTS: dict[str, tuple[Callable[[Tensors], Tensors], str, int]] = {
    "OpenAI's extra numbers": (lambda t: {**t, "input_resolution": torch.tensor(64)}, "openai", 0),
    "old buffers": (lambda t: {**t, "attn_mask": torch.zeros(77, 77)}, "openai", 0),
    "training": (lambda t: {**prefixed(t, "state_dict.module."), "optimizer.lr": ONE}, "openai", 1),
    "compiled": (lambda t: prefixed(t, "model._orig_mod.module."), "openai", 0),
    "training with EMA": (lambda t: prefixed(t, "state_dict.") | {"ema.visual.conv1.weight": ONE}, "openai", 1),
    "PAR repositories": (lambda t: prefixed(t, "state_dicts.module.") | prefixed(t, "state_dict_ema."), "openai", -1),
    "PromptPAR": (prompt_par, "openai", 6),
    "lightning": (lambda t: {**prefixed(t, "state_dict.clip_model."), "state_dict.head.weight": ONE}, "openai", 1),
    "classifier beside it": (lambda t: {**t, "classifier.weight": ONE, "classifier.bias": ONE}, "openai", 2),
    "logit_scale [1]": (lambda t: {**t, "logit_scale": t["logit_scale"].reshape(1)}, "openai", 0),
    "custom text": (custom_text, "open_clip-custom-text", 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_equal(layout: str, small: Tensors) -> None:
    make, name, others = LAYOUTS[layout]
    tensors = make(small)
    found, recognised, unused = to_openai_state_dict(tensors)
    assert_same(found, small)
    assert recognised == name
    assert len(unused) == (others if others >= 0 else len(small))
    assert set(unused) <= set(tensors)


def write_torchscript(tensors: Tensors, path: Path) -> None:
    """An archive as OpenAI's: a tree of modules, three more buffers, fp16 but for some."""
    root = nn.Module()
    extra = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    for name, tensor in {**tensors, **{key: torch.tensor(value) for key, value in extra.items()}}.items():
        *modules, last = name.split(".")
        module = root
        for part in modules:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        if tensor.is_floating_point():
            kept = any(part in name for part in ("embedding", "logit_scale", "ln_"))
            module.register_parameter(last, nn.Parameter(tensor.clone() if kept else tensor.half()))
        else:
            module.register_buffer(last, tensor)
    torch.jit.save(torch.jit.script(root), str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("container", ["torchscript", "pickle", "pickle-legacy", "safetensors"])
def test_containers_are_equal(container: str, small: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    if container == "torchscript":  # in fp16 where OpenAI has it; the values are chosen so that it holds them exactly
        write_torchscript(small, path)
    elif container == "safetensors":
        save_file(small, path)
    else:
        torch.save({"epoch": 3, "state_dict": small}, path, _use_new_zipfile_serialization=container == "pickle")
    weights = read_state_dict(path, activation="quick_gelu")
    assert weights.format == f"{container}/openai"
    assert (weights.tensors["visual.proj"].dtype == torch.float16) == (container == "torchscript")
    assert_same({name: tensor.float() for name, tensor in weights.tensors.items()}, small)
    assert container != "torchscript" or read_state_dict(path).activation == "quick_gelu"
    model, _ = load(path, activation="gelu")
    assert model.config.activation == "gelu"
    path.write_bytes(bytes(path.stat().st_size))  # the model owns its tensors
    assert_same(model.state_dict(), small)


@pytest.mark.filterwarnings("ignore")
def test_what_transformers_saves(small: Tensors, in_layout, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    text = {"intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "hidden_size": 64}
    vision = {"intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 128}
    vision |= {"image_size": 64, "patch_size": 16}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=96))
    theirs = in_layout(small, model.state_dict(), HUGGINGFACE)
    model.load_state_dict(theirs, strict=True)
    model.save_pretrained(tmp_path)
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert (weights.format, weights.activation) == ("safetensors/huggingface", "quick_gelu")
    # Older versions save a pickle, with a buffer.
    (tmp_path / "model.safetensors").unlink()
    old = {**theirs, "text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save(prefixed(old, "backbone."), tmp_path / "pytorch_model.bin")
    weights = read_state_dict(tmp_path)
    assert_same(weights.tensors, small)
    assert weights.format == "pickle/huggingface"
    del theirs["vision_model.encoder.layers.0.self_attn.k_proj.weight"]
    with pytest.raises(WeightsError, match="do not fit together"):
        read_state_dict(save(theirs, tmp_path / "openai.bin"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": ONE}, "not those of a CLIP Vision Transformer"),
        ({"a.visual.conv1.weight": ONE, "b.visual.conv1.weight": ONE}, "several models: a, b"),
        ({"model.a.visual.conv1.weight": ONE, "model.b.visual.conv1.weight": ONE}, "several models: model.a, model.b"),
        ({"patch_embed.proj.weight": ONE, "head.bias": ONE}, "classifier"),
        ({"visual.conv1.weight": ONE.to(torch.int8)}, r"whole numbers in visual\.conv1\.weight"),
        ({"visual.conv1.weight": ONE * torch.nan}, r"infinite values or NaN in visual\.conv1\.weight\."),
        ({"visual.conv1.weight": torch.ones(64, 3, 3, 3), "visual.attnpool.x": ONE}, "ResNet(.|\n)*Use a full CLIP"),
        ({"visual.trunk.patch_embed.proj.weight": torch.ones(64, 3, 3, 3)}, "(timm).*model of timm"),
        (None, "No such file"),
    ],
)
def test_what_is_no_clip(content: Tensors | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "openai.pt"
    if content is not None:
        save(content, path)
    with pytest.raises(WeightsError, match=message):
        load(path)
    with pytest.raises(WeightsError, match="is a folder without"):
        load(tmp_path)


def test_load_gives_the_model_of_the_file(small: Tensors, file: Path) -> None:
    torch.manual_seed(3)
    model, preprocess = load(file)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(3)))  # None were taken.
    assert (model.config.vision.layers, model.config.vision.heads, model.config.text.layers) == (3, 2, 2)
    assert not model.training
    assert_same(model.state_dict(), small)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert preprocess == clip_impl.Preprocess(size=(64, 64), resize_mode="squash")
    _, preprocess = load(file, image_size=(128, 64))
    features = model.encode_image(preprocess(Image.new("RGB", (30, 90), "red"))[None], normalize=True)
    assert features.norm().item() == pytest.approx(1, abs=1e-5)


def test_all_that_does_not_fit_is_listed_at_once(small: Tensors, tmp_path: Path) -> None:
    broken = dict(small)
    del broken["ln_final.bias"], broken["visual.ln_post.weight"]
    broken |= {"visual.extra": ONE, "transformer.resblocks.1.mlp.c_fc.bias": torch.ones(3)}
    broken["token_embedding.weight"] = torch.ones(32000, 64)
    with pytest.raises(WeightsError) as caught:
        load(save(broken, tmp_path / "openai.pt"))
    for part in (
        'Missing key(s) in state_dict: "visual.ln_post.weight", "ln_final.bias"',
        'Unexpected key(s) in state_dict: "visual.extra"',
        "size mismatch for token_embedding.weight",
        "size mismatch for transformer.resblocks.1.mlp.c_fc.bias",
    ):
        assert part in caught.value.problem


@pytest.mark.parametrize(("width", "patch"), [(384, 32), (768, 16), (1024, 14)])
def test_infer_config_of_any_vision_transformer(width: int, patch: int) -> None:
    vision = clip_impl.VisionConfig((224, 224), patch, width, layers=2, heads=width // 64)
    wanted = CLIPConfig(vision, clip_impl.TextConfig(width=256, layers=3, heads=4), width // 2, "gelu")
    with torch.device("meta"):
        tensors = CLIP(wanted).state_dict()
    assert infer_config(tensors, "gelu") == wanted


def test_upright_positions_need_their_size(small: Tensors, tmp_path: Path) -> None:
    path = save({**small, "visual.positional_embedding": torch.zeros(1 + 8 * 4, 128)}, tmp_path / "openai.pt")
    assert load(path, image_size=(128, 64))[0].config.vision.image_size == (128, 64)
    for size in (None, (128, 128)):
        with pytest.raises(WeightsError, match="32 patches, which do not form a square"):
            load(path, image_size=size)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("visual.conv1.weight", (128, 3, 16, 8), "8 pixels|size mismatch for visual.conv1.weight"),
        ("visual.conv1.weight", (128, 3, 16), "expected 4"),
        ("visual.conv1.weight", (128, 3, 16, 0), "not those of a CLIP"),
        ("visual.conv1.weight", (32, 3, 16, 16), "no 3 layers of width 32 with 0 heads"),
        ("visual.positional_embedding", (1, 128), "0 x 0"),
    ],
)
def test_impossible_shapes(name: str, shape: tuple[int, ...], message: str, small: Tensors, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        load(save({**small, name: torch.zeros(shape)}, tmp_path / "openai.pt"))


TIMM = "vit_base_patch16_clip_224"


@pytest.mark.parametrize(
    ("file", "neighbour", "config", "activation"),
    [
        ("ViT-B-16.pt", "", None, "quick_gelu"),
        ("vit_b_16-laion400m_e32-55e67d44.pt", "", None, "gelu"),
        ("ViT-B-16-quickgelu-laion400m.pt", "", None, "quick_gelu"),
        ("datacomp_xl_s13b_b90k.bin", "", None, "gelu"),
        ("metaclip_400m.pt", "", None, "quick_gelu"),
        ("model.bin", "open_clip_config.json", {"model_cfg": {"embed_dim": 512, "quick_gelu": True}}, "quick_gelu"),
        ("model.bin", "open_clip_config.json", {"model_cfg": {"embed_dim": 512}}, "gelu"),
        ("model.bin", "config.json", {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}, "gelu"),
        ("model.bin", "config.json", {"model_type": "clip", "vision_config": {}, "text_config": {}}, "quick_gelu"),
        ("model.bin", "config.json", {"model_type": "clip_vision_model", "hidden_act": "gelu"}, "gelu"),
        ("model.bin", "config.json", {"architecture": "vit_base_patch16_clip_quickgelu_224"}, "quick_gelu"),
        ("model.bin", "config.json", {"architecture": TIMM, "pretrained_cfg": {"tag": "laion2b"}}, "gelu"),
        ("model.bin", "config.json", {"architecture": TIMM, "pretrained_cfg": {"tag": "openai"}}, "quick_gelu"),
        ("model.bin", "model.bin.json", {"activation": "gelu", "sha256": "00"}, "gelu"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_activation_by_name_or_neighbour(file, neighbour, config, activation, tmp_path: Path) -> None:
    if neighbour:
        (tmp_path / neighbour).write_text(json.dumps(config))
    assert infer_activation(tmp_path / file, "pickle") == activation
    # Beside OpenAI's own container, only the record of an installation counts.
    recorded = neighbour == f"{file}.json"
    assert infer_activation(tmp_path / file, "torchscript") == (activation if recorded else "quick_gelu")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"model_type": "bert"}', '{"architecture": "resnet"}', '{"model_cfg": 3}', "[" * 100_000]
)
def test_an_unknown_activation_is_asked_for(text: str, small: Tensors, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    file = save(small, tmp_path / "model.bin")
    with pytest.raises(WeightsError, match=r"its activation(.|\n)*prepare weights .*model\.bin --activation quickgelu"):
        read_state_dict(file)
    assert read_state_dict(file, activation="quickgelu").activation == "quick_gelu"


def save_parts(tensors: Tensors, folder: Path, **changes: str) -> Path:
    """Weights in two files with their index, in which `changes` are made."""
    names = sorted(tensors)
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for place in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == place}, folder / place)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places | changes}))
    return index


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logit_scale": "third"}, "names third, which is not there"),
        ({"logit_scale": "../third"}, "it names no files beside it"),
        ({"visual.more": "model-00001-of-00002.safetensors"}, "names visual.more, which is not in model-00001"),
    ],
)
def test_an_index_must_fit_its_files(small: Tensors, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    index = save_parts(small, tmp_path, **changes)
    with pytest.raises(WeightsError, match=message):
        read_state_dict(index, activation="gelu")
    for text in ("{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 3}}'):
        index.write_text(text)
        with pytest.raises(WeightsError, match="not an index of weight files"):
            read_state_dict(index, activation="gelu")


def test_unusable_activations(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="its activation"):
        infer_activation(tmp_path / "openai-laion-tuned.pt", "pickle")
    with pytest.raises(WeightsError, match=r"one of 2 files(.|\n)*Name their folder"):
        read_state_dict(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(WeightsError, match='Unknown activation "relu"'):
        infer_activation(tmp_path / "model.bin", "pickle", "relu")
    towers = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "quick_gelu"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    with pytest.raises(WeightsError, match="two activations, gelu and quick_gelu"):
        infer_activation(tmp_path / "model.bin", "pickle")
