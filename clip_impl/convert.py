"""State dicts of other libraries and trainings under OpenAI's parameter names, and back.

Hugging Face's `CLIPModel` splits the attention's input projection into query, key and value, and keeps the two output
projections transposed. timm's `vit_*_clip_*` have the visual tower only, with its projection as a linear classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from clip_impl.errors import WeightsError

VISION_BLOCKS = "visual.transformer.resblocks."
TEXT_BLOCKS = "transformer.resblocks."
TRANSPOSED = ("visual.proj", "text_projection")
"""Matrices [in, out] that the other libraries keep as the weight [out, in] of a linear layer."""

# Where trainings keep the weights in a checkpoint, in order of preference.
_WRAPPERS = ("state_dict.", "model_state_dict.", "model.", "module.")
# A tensor that every file of a layout has, and the layout's name.
_ANCHORS = {
    "visual.conv1.weight": "openai",
    "vision_model.embeddings.patch_embedding.weight": "huggingface",
    "patch_embed.proj.weight": "timm",
}
# Parts of names that give other models away.
_OTHER_MODELS = {
    "logit_bias": "It is a SigLIP model (it has logit_bias), which is built differently from CLIP.",
    "visual.attnpool.": "It is a CLIP with a ResNet as visual tower (RN50 and the like).",
    "visual.trunk.": "Its visual tower is a model of timm inside open_clip, not CLIP's own.",
}
# Values in OpenAI's archives, and buffers in older files, that are not parameters.
_NOT_WEIGHTS = re.compile(r"input_resolution|context_length|vocab_size|(.+\.)?(attn_mask|position_ids)")

# OpenAI's names to other libraries' names, those of blocks without the number of the block.
_HUGGINGFACE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1": "vision_model.embeddings.patch_embedding",
    "visual.ln_pre": "vision_model.pre_layrnorm",  # the library's own spelling
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
    VISION_BLOCKS: "vision_model.encoder.layers.",
    TEXT_BLOCKS: "text_model.encoder.layers.",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn": "self_attn",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TIMM = {
    "visual.class_embedding": "cls_token",
    "visual.positional_embedding": "pos_embed",
    "visual.conv1": "patch_embed.proj",
    "visual.ln_pre": "norm_pre",
    "visual.ln_post": "norm",
    "visual.proj": "head.weight",
    VISION_BLOCKS: "blocks.",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.in_proj": "attn.qkv",
    "attn.out_proj": "attn.proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def to_openai_state_dict(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors under OpenAI's names, and the layout they came in.

    Args:
        tensors: of a weight file by dotted name, also with prefixes such as `state_dict.module.` of trainings.

    Returns:
        The tensors and one of `openai`, `open_clip-custom-text`, `huggingface`, `timm`. Not checked for completeness.

    Raises:
        WeightsError: not a CLIP with a Vision Transformer; the message says what it looks like instead.
    """
    for part, model in _OTHER_MODELS.items():
        if any(part in name for name in tensors):
            raise WeightsError(model, "Use ViT-B/16 weights, for example OpenAI's ViT-B-16.pt.")
    prefix, layout = _find_model(tensors)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in tensors.items() if not _NOT_WEIGHTS.fullmatch(name)}
    if layout == "huggingface":
        tensors = from_huggingface(tensors)
    elif layout == "timm":
        tensors = from_timm(tensors)
    elif "text.token_embedding.weight" in tensors:
        layout = "open_clip-custom-text"
        tensors = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    if "logit_scale" in tensors and tensors["logit_scale"].numel() == 1:
        tensors["logit_scale"] = tensors["logit_scale"].reshape([])
    return tensors, layout


def from_huggingface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of `CLIPModel` to OpenAI's. Unknown names stay."""
    table = {theirs: ours for ours, theirs in _HUGGINGFACE.items()}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        attention, projection, kind = name.rpartition(".q_proj.")
        parts = [f"{attention}.{letter}_proj.{kind}" for letter in "qkv"]
        if projection and all(part in tensors for part in parts):
            result[f"{_rename(attention, table)}.in_proj_{kind}"] = torch.cat([tensors[part] for part in parts])
        elif not re.search(r"\.[kv]_proj\.", name):
            result[_rename(name, table)] = tensor
    return _transpose(result)


def to_huggingface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names to those of `CLIPModel`; the exact inverse of `from_huggingface`."""
    result: dict[str, Tensor] = {}
    for name, tensor in _transpose(tensors).items():
        attention, projection, kind = name.rpartition(".in_proj_")
        if projection:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                result[f"{_rename(attention, _HUGGINGFACE)}.{letter}_proj.{kind}"] = part.clone()
        else:
            result[_rename(name, _HUGGINGFACE)] = tensor
    return result


def from_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of timm's `vit_*_clip_*` to OpenAI's, visual tower only. Unknown names stay.

    Raises:
        WeightsError: a Vision Transformer without CLIP's extra LayerNorm, or a classifier with a bias.
    """
    if "norm_pre.weight" not in tensors:
        raise WeightsError("It is a timm Vision Transformer, but not one of CLIP: it has no norm_pre.")
    if "head.bias" in tensors and tensors["head.bias"].any():
        raise WeightsError("Its head has a bias, so it is a classifier and not CLIP's projection.")
    table = {theirs: ours for ours, theirs in _TIMM.items()}
    result = {
        _rename(name, table).replace(".in_proj.", ".in_proj_"): tensor
        for name, tensor in tensors.items()
        if name != "head.bias"
    }
    if "visual.class_embedding" in result:
        result["visual.class_embedding"] = result["visual.class_embedding"].flatten()
    if "visual.positional_embedding" in result:
        result["visual.positional_embedding"] = result["visual.positional_embedding"].squeeze(0)
    return _transpose(result)


def to_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The visual tower under timm's names (`vit_base_patch16_clip_quickgelu_224` for OpenAI's ViT-B/16), exact.

    The bias of timm's classifier is zero.
    """
    result = {
        _rename(name.replace(".in_proj_", ".in_proj."), _TIMM): tensor
        for name, tensor in _transpose(tensors).items()
        if name.startswith("visual.")
    }
    result["cls_token"] = result["cls_token"].reshape(1, 1, -1)
    result["pos_embed"] = result["pos_embed"][None]
    result["head.bias"] = result["head.weight"].new_zeros(len(result["head.weight"]))
    return result


def _rename(name: str, table: Mapping[str, str]) -> str:
    """A name of one library in the other's words: `<blocks><number>.<layer>.<weight|bias>`, or without blocks."""
    block = re.fullmatch(r"(.*?\.)(\d+\.)(.+)", name)
    tower, number, layer = block.groups() if block else ("", "", name)
    if tower and tower not in table:
        return name
    module, _, kind = layer.rpartition(".")
    renamed = table[layer] if layer in table else f"{table[module]}.{kind}" if module in table else None
    return name if renamed is None else f"{table[tower] if tower else ''}{number}{renamed}"


def _transpose(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, with the projections that are kept transposed elsewhere turned around."""
    return {name: t.t().contiguous() if name in TRANSPOSED and t.ndim == 2 else t for name, t in tensors.items()}


def _find_model(tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """What stands in front of all names of the model, and its layout."""
    for anchor, layout in _ANCHORS.items():
        prefixes = [name.removesuffix(anchor) for name in tensors if f".{name}".endswith(f".{anchor}")]
        for wrapper in _WRAPPERS:
            prefixes = [prefix for prefix in prefixes if prefix.startswith(wrapper)] or prefixes
        if len(prefixes) > 1:
            shown = ", ".join(prefix.rstrip(".") or "(no prefix)" for prefix in sorted(prefixes, key=len))
            raise WeightsError(f"It holds several models: {shown}.", "Save the state_dict of the one you want alone.")
        if prefixes:
            return prefixes[0], layout
    some = ", ".join(list(tensors)[:4])
    raise WeightsError(
        f"It holds {len(tensors)} tensors, but not those of a CLIP Vision Transformer (the first: {some}).",
        "Weights of OpenAI's CLIP, open_clip, Hugging Face's CLIPModel and timm's vit_*_clip_* can be read.",
    )
