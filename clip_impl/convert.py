"""State dicts of other libraries and trainings under OpenAI's parameter names.

Hugging Face's `CLIPModel` splits the attention's input projection into query, key and value, and keeps the two output
projections transposed. timm's `vit_*_clip_*` have the visual tower only, with its projection as a linear classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from clip_impl.containers import WeightsError

TRANSPOSED = ("visual.proj", "text_projection")
"""Matrices [in, out] that the other libraries keep as the weight [out, in] of a linear layer."""

# Where trainings keep the weights in a checkpoint, in order of preference.
_WRAPPERS = ("state_dict.", "state_dicts.", "model_state_dict.", "clip_model.", "model.", "module.")
# A tensor that every file of a layout has, and the layout's name.
_ANCHORS = {
    "visual.conv1.weight": "openai",
    "vision_model.embeddings.patch_embedding.weight": "huggingface",
    "patch_embed.proj.weight": "timm",
}
# Values in OpenAI's archives, and buffers in older files, that are not parameters.
_NOT_WEIGHTS = re.compile(r"input_resolution|context_length|vocab_size|(.+\.)?(attn_mask|position_ids)")

# What a CLIP computes with. Beside it a training may add modules, and within it prompts: CLIP does without them.
_TOWERS = re.compile(
    r"(visual|transformer|ln_final|token_embedding)\.|(positional_embedding|text_projection|logit_scale)$"
)
_PROMPTS = re.compile(r"prompt|part_class_embedding")

# Patterns in other libraries' names, and what takes their place in OpenAI's, one after the other.
HUGGINGFACE = {
    r"^vision_model\.": "visual.",
    r"^text_model\.": "",
    r"^visual_projection\.weight": "visual.proj",
    r"^text_projection\.weight": "text_projection",
    r"embeddings\.position_embedding\.weight": "positional_embedding",
    r"embeddings\.patch_embedding": "conv1",
    r"embeddings\.": "",
    r"pre_layrnorm": "ln_pre",  # the library's own spelling
    r"post_layernorm": "ln_post",
    r"final_layer_norm": "ln_final",
    r"encoder\.layers": "transformer.resblocks",
    r"layer_norm": "ln_",
    r"self_attn": "attn",
    r"mlp\.fc1": "mlp.c_fc",
    r"mlp\.fc2": "mlp.c_proj",
}
TIMM = {
    r"^cls_token": "visual.class_embedding",
    r"^pos_embed": "visual.positional_embedding",
    r"^patch_embed\.proj": "visual.conv1",
    r"^norm_pre": "visual.ln_pre",
    r"^norm\.": "visual.ln_post.",
    r"^head\.weight": "visual.proj",
    r"^blocks": "visual.transformer.resblocks",
    r"\.norm": ".ln_",
    r"attn\.qkv\.": "attn.in_proj_",
    r"attn\.proj": "attn.out_proj",
    r"mlp\.fc1": "mlp.c_fc",
    r"mlp\.fc2": "mlp.c_proj",
}


def to_openai_state_dict(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, list[str]]:
    """A CLIP's tensors under OpenAI's names, the layout they came in, and the names of all other tensors of the file.

    Args:
        tensors: of a weight file by dotted name, also with prefixes such as `state_dict.module.` of trainings.

    Returns:
        The tensors; one of `openai`, `open_clip-custom-text`, `huggingface`, `timm`; what is unused: other modules, copies,
        prompts. Unknown tensors of the two towers stay, and nothing is checked for completeness.

    Raises:
        WeightsError: there is no CLIP among them, or there are several.
        KeyError, RuntimeError: a layer without its query, key or value, or with ones that do not fit together.
    """
    prefix, layout = _find_model(tensors)
    unused = [name for name in tensors if not name.startswith(prefix)]
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    found = {name: tensor for name, tensor in found.items() if not _NOT_WEIGHTS.fullmatch(name)}
    if layout != "timm":
        table = HUGGINGFACE if layout == "huggingface" else {r"^text\.": ""}
        ours = {name: rename(name, table) for name in found}
        added = [name for name in found if not _TOWERS.match(ours[name]) or _PROMPTS.search(ours[name])]
        unused += [prefix + name for name in added]
        for name in added:
            del found[name]
    if layout != "openai":
        found = _converted(found, HUGGINGFACE if layout == "huggingface" else TIMM)
    elif "text.token_embedding.weight" in found:
        layout = "open_clip-custom-text"
        found = {name.removeprefix("text."): tensor for name, tensor in found.items()}
    if "logit_scale" in found and found["logit_scale"].numel() == 1:
        found["logit_scale"] = found["logit_scale"].reshape([])
    return found, layout, unused


def rename(name: str, table: Mapping[str, str]) -> str:
    """The name in OpenAI's words of a tensor of the library that `table` belongs to."""
    for pattern, ours in table.items():
        name = re.sub(pattern, ours, name)
    return name


def _converted(tensors: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {rename(name, table): tensor for name, tensor in tensors.items()}
    result = {name: t.t().contiguous() if name in TRANSPOSED and t.ndim == 2 else t for name, t in renamed.items()}
    for query in [name for name in result if ".q_proj." in name]:
        parts = [result.pop(query.replace(".q_proj.", f".{letter}_proj.")) for letter in "qkv"]
        result[query.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    if "head.bias" in result and result.pop("head.bias").any():
        raise WeightsError("Its head has a bias, so it is a classifier and not CLIP's projection.")
    for name in ("visual.class_embedding", "visual.positional_embedding"):
        if name in result:  # timm's have a batch dimension
            result[name] = result[name].squeeze()
    return result


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
