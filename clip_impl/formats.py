"""State dicts of other libraries and trainings, as OpenAI's names; and back.

`canonical` takes whatever a weight file held. The tables of names are in `keymaps`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from clip_impl import keymaps
from clip_impl.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_TRAINING_PREFIXES = ("module.", "_orig_mod.")
# A tensor that every file of a layout has, to find out what stands in front of the names, and the layout's name.
_ANCHORS = {
    "visual.conv1.weight": "openai",
    "vision_model.embeddings.patch_embedding.weight": "huggingface",
    "patch_embed.proj.weight": "timm",
}
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
_BUFFERS = ("attn_mask", "position_ids")


def canonical(content: Any) -> tuple[dict[str, Tensor], str]:
    """Tensors under OpenAI's names, and the layout they came in.

    Args:
        content: what the file held: a dict of tensors, or such a dict inside the usual wrappers of trainings.

    Returns:
        The tensors and one of `openai`, `open_clip-custom-text`, `huggingface`, `timm`. Not checked for completeness.

    Raises:
        WeightsError: no CLIP with a Vision Transformer; the message says what it looks like instead.
    """
    tensors = unwrap(content)
    _refuse_other_models(tensors)
    prefix, layout = _find_anchor(tensors)
    tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in _NOT_WEIGHTS and name.rpartition(".")[2] not in _BUFFERS
    }
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


def unwrap(content: Any) -> dict[str, Tensor]:
    """The dict of tensors inside the dicts that trainings wrap around it, without prefixes that all names share."""
    for _ in range(8):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise WeightsError(f"It holds a {type(content).__name__} instead of named tensors.", "Save model.state_dict().")
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError("It holds no tensors.", "Save model.state_dict().")
    while prefix := next((p for p in _TRAINING_PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors


def from_huggingface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`CLIPModel` names to OpenAI's: query, key and value joined, projections transposed. Unknown names stay."""
    result: dict[str, Tensor] = {}
    single = {theirs: ours for ours, theirs in (keymaps.HF_VISION | keymaps.HF_TEXT).items()}
    sub_names = {theirs: ours for ours, theirs in keymaps.HF_BLOCK.items()}
    for name, tensor in tensors.items():
        ours = single.get(name) or _block_name(name, _HF_TOWERS, sub_names)
        if ours is None and (match := _HF_ATTENTION.fullmatch(name)):
            blocks, index, part, kind = match.groups()
            parts = [tensors.get(f"{blocks}{index}.{sub}.{kind}") for sub in keymaps.HF_QUERY_KEY_VALUE]
            if all(part is not None for part in parts):
                if part == keymaps.HF_QUERY_KEY_VALUE[0]:
                    joined = torch.cat([part for part in parts if part is not None])
                    result[f"{_HF_TOWERS[blocks]}{index}.attn.in_proj_{kind}"] = joined
                continue
        result[ours or name] = _transposed(tensor) if ours in keymaps.TRANSPOSED else tensor
    return result


def to_huggingface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names to those of `CLIPModel`; the inverse of `from_huggingface`, exact."""
    result: dict[str, Tensor] = {}
    towers = {ours: theirs for theirs, ours in _HF_TOWERS.items()}
    for name, tensor in tensors.items():
        if match := _IN_PROJECTION.fullmatch(name):
            blocks, index, kind = match.groups()
            for sub, part in zip(keymaps.HF_QUERY_KEY_VALUE, tensor.chunk(3), strict=True):
                result[f"{towers[blocks]}{index}.{sub}.{kind}"] = part.clone()
            continue
        theirs = (keymaps.HF_VISION | keymaps.HF_TEXT).get(name) or _block_name(name, towers, keymaps.HF_BLOCK)
        result[theirs or name] = _transposed(tensor) if name in keymaps.TRANSPOSED else tensor
    return result


def from_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's `vit_*_clip_*` names to OpenAI's, visual tower only. Unknown names stay.

    Raises:
        WeightsError: a Vision Transformer without CLIP's extra LayerNorm, or a classifier with a bias.
    """
    if "norm_pre.weight" not in tensors:
        raise WeightsError("It is a timm Vision Transformer, but none of CLIP: it has no norm_pre.")
    single = {theirs: ours for ours, theirs in keymaps.TIMM_VISION.items()}
    sub_names = {theirs: ours for ours, theirs in keymaps.TIMM_BLOCK.items()}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "head.bias":
            if tensor.any():
                raise WeightsError("Its head has a bias, so it is a classifier and not CLIP's projection.")
            continue
        if match := _TIMM_QKV.fullmatch(name):
            index, kind = match.groups()
            result[f"{keymaps.VISION_BLOCKS}{index}.attn.in_proj_{kind}"] = tensor
            continue
        ours = single.get(name) or _block_name(name, {keymaps.TIMM_BLOCKS: keymaps.VISION_BLOCKS}, sub_names)
        if name == "cls_token":
            tensor = tensor.reshape(-1)
        elif name == "pos_embed" and tensor.ndim == 3:
            tensor = tensor[0]
        result[ours or name] = _transposed(tensor) if ours in keymaps.TRANSPOSED else tensor
    return result


def to_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The visual tower under timm's names (`vit_base_patch16_clip_quickgelu_224` for OpenAI's ViT-B/16), exact.

    timm keeps the projection as a linear classifier; its bias is zero.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith("visual."):
            continue
        if match := _IN_PROJECTION.fullmatch(name):
            result[f"{keymaps.TIMM_BLOCKS}{match[2]}.attn.qkv.{match[3]}"] = tensor
            continue
        theirs = keymaps.TIMM_VISION.get(name)
        theirs = theirs or _block_name(name, {keymaps.VISION_BLOCKS: keymaps.TIMM_BLOCKS}, keymaps.TIMM_BLOCK)
        if name == "visual.class_embedding":
            tensor = tensor.reshape(1, 1, -1)
        elif name == "visual.positional_embedding":
            tensor = tensor[None]
        result[theirs or name] = _transposed(tensor) if name in keymaps.TRANSPOSED else tensor
    if "head.weight" in result:
        result["head.bias"] = result["head.weight"].new_zeros(len(result["head.weight"]))
    return result


_HF_TOWERS = {
    keymaps.HF_VISION_BLOCKS: keymaps.VISION_BLOCKS,
    keymaps.HF_TEXT_BLOCKS: keymaps.TEXT_BLOCKS,
}
_HF_ATTENTION = re.compile(
    f"({'|'.join(map(re.escape, _HF_TOWERS))})"
    rf"(\d+)\.({'|'.join(map(re.escape, keymaps.HF_QUERY_KEY_VALUE))})\.(weight|bias)"
)
_IN_PROJECTION = re.compile(
    f"({re.escape(keymaps.VISION_BLOCKS)}|{re.escape(keymaps.TEXT_BLOCKS)})" + r"(\d+)\.attn\.in_proj_(weight|bias)"
)
_TIMM_QKV = re.compile(re.escape(keymaps.TIMM_BLOCKS) + r"(\d+)\.attn\.qkv\.(weight|bias)")


def _block_name(name: str, towers: Mapping[str, str], sub_names: Mapping[str, str]) -> str | None:
    """`<tower><index>.<sub>.<weight|bias>` with the tower and the sub-name translated; None where that does not fit."""
    for source, target in towers.items():
        if name.startswith(source):
            index, _, rest = name[len(source) :].partition(".")
            sub, _, kind = rest.rpartition(".")
            if sub in sub_names:
                return f"{target}{index}.{sub_names[sub]}.{kind}"
    return None


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.t().contiguous() if tensor.ndim == 2 else tensor


def _refuse_other_models(tensors: Mapping[str, Tensor]) -> None:
    def has(*endings: str) -> bool:
        return any(name.endswith(endings) for name in tensors)

    advice = "Use ViT-B/16 weights, for example OpenAI's ViT-B-16.pt."
    if has("logit_bias"):
        raise WeightsError("It is a SigLIP model (it has logit_bias), which is built differently from CLIP.", advice)
    if has("visual.attnpool.positional_embedding", "visual.layer1.0.conv1.weight"):
        raise WeightsError("It is a CLIP with a ResNet as visual tower (RN50 and the like).", advice)
    if has("visual.trunk.patch_embed.proj.weight", "visual.trunk.stem.0.weight"):
        raise WeightsError("Its visual tower is a model of timm inside of open_clip, not CLIP's own.", advice)


def _find_anchor(tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """What stands in front of all names, and the layout."""
    for anchor, layout in _ANCHORS.items():
        prefixes = sorted(_prefixes(tensors, anchor), key=len)
        if len(prefixes) > 1 and prefixes[0] != "":
            shown = ", ".join(prefix.rstrip(".") for prefix in prefixes)
            raise WeightsError(f"It holds several models: {shown}.", "Save the state_dict of the one you want alone.")
        if prefixes:
            return prefixes[0], layout
    some = ", ".join(list(tensors)[:4])
    raise WeightsError(
        f"It holds {len(tensors)} tensors, but not those of a CLIP Vision Transformer (the first: {some}).",
        "Weights of OpenAI's CLIP, open_clip, Hugging Face's CLIPModel and timm's vit_*_clip_* can be read.",
    )


def _prefixes(tensors: Mapping[str, Tensor], anchor: str) -> Iterator[str]:
    for name in tensors:
        if name == anchor or name.endswith(f".{anchor}"):
            yield name[: -len(anchor)]
