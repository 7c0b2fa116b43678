"""CLIP weights from a file of any usual format, and the model they belong to.

The model's shape follows from the tensors. The activation does not show in any tensor, and a wrong one silently ruins the
features: it is looked up in what comes with the file.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_impl.config import Activation, CLIPConfig, TextConfig, VisionConfig
from clip_impl.containers import ActivationError, WeightsError, read_container
from clip_impl.convert import to_openai_state_dict
from clip_impl.model import CLIP
from clip_impl.preprocess import Preprocess

HEAD_WIDTH = 64
# Larger Vision Transformers of open_clip (H, g, bigG) have 16 heads that are wider.
_VISION_HEADS = {1280: 16, 1408: 16, 1664: 16}
_FOLDER_FILES = ("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
INDEX = ".index.json"
"""The end of the name of the file that lists the parts of sharded weights."""
# Activations by words in usual file names (without - and _): open_clip's release names and tags, and OpenAI's own files.
_WORDS: dict[str, Activation] = {
    **dict.fromkeys(("openai", "dfn2b", "dfn5b", "metaclip"), "quick_gelu"),
    **dict.fromkeys(("laion", "datacomp", "commonpool"), "gelu"),
    **dict.fromkeys(("vitb16.pt", "vitb32.pt", "vitl14.pt", "vitl14336px.pt"), "quick_gelu"),
}


@dataclass(frozen=True)
class LoadedWeights:
    """The content of a weight file.

    Attributes:
        tensors: by OpenAI's names, in the file's dtypes (OpenAI's own mix fp16 and fp32), on the CPU.
        format: container and layout, for example `torchscript/openai` or `safetensors/huggingface`.
        unused: the names of tensors in the file that are not CLIP's.
    """

    path: Path
    tensors: dict[str, Tensor]
    format: str
    activation: Activation
    unused: tuple[str, ...] = ()


def read_state_dict(path: str | os.PathLike[str], *, activation: str | None = None) -> LoadedWeights:
    """Read a weight file, or the one in a folder as `transformers` and `open_clip` save it. No code in it is run.

    Args:
        path: file or folder; its extension does not matter. Weights in several files: their folder or their index.
        activation: overrides what the file, its name and its surroundings say.

    Raises:
        WeightsError: not found, not readable safely, without a CLIP in it, or with values that are not finite.
    """
    file = Path(os.path.expanduser(path))
    if file.is_dir():
        names = (*_FOLDER_FILES, *(name + INDEX for name in _FOLDER_FILES))
        held = [file / name for name in names if (file / name).is_file()]
        if not held:
            raise WeightsError(f"{file} is a folder without a {' or '.join(_FOLDER_FILES)}.", "Name the file itself.")
        file = held[0]
    part = re.search(r"-\d+-of-(\d+)\.\w+$", file.name)
    if part and int(part[1]) > 1:
        hint = f"Name their folder: focus prepare weights {shlex.quote(str(file.parent))}"
        raise WeightsError(f"{file} is one of {int(part[1])} files that belong together.", hint)
    container, content = _read_parts(file) if file.name.endswith(INDEX) else read_container(file)
    try:
        tensors, layout, unused = to_openai_state_dict(content)
        used = infer_activation(file, container, activation)
    except WeightsError as error:
        raise type(error)(f"{file}: {error.problem}", error.hint) from error
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{file}: its tensors do not fit together: {error}.") from error
    if whole := [name for name, tensor in tensors.items() if not tensor.is_floating_point()]:
        raise WeightsError(
            f"{file} has whole numbers in {whole[0]}: it is quantized.", "Use the file with fp16 or fp32."
        )
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(f"{file} has infinite values or NaN in {textwrap.shorten(', '.join(broken), 1000)}.")
    return LoadedWeights(file, tensors, f"{container}/{layout}", used, tuple(unused))


def _read_parts(index: Path) -> tuple[str, dict[str, Tensor]]:
    """The container and the tensors of all files that an index names."""
    hint = "Put all files that belong together into one folder, as downloaded."
    try:
        places = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        names = sorted(set(places.values()))
        if not names or any(name in ("", ".", "..") or name != Path(name).name for name in names):
            raise ValueError("it names no files beside it")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{index} is not an index of weight files: {error}.", hint) from error
    container = ""
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not index.with_name(name).is_file():
            raise WeightsError(f"{index} names {name}, which is not there.", hint)
        container, part = read_container(index.with_name(name))
        tensors |= part
    if missing := [name for name in places if name not in tensors]:
        raise WeightsError(f"{index} names {missing[0]}, which is not in {places[missing[0]]}.", hint)
    return container, tensors


def load(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    image_size: tuple[int, int] | None = None,
    activation: str | None = None,
) -> tuple[CLIP, Preprocess]:
    """A model with the weights of a local file, in fp32 and evaluation mode, and the preprocessing for it.

    Args:
        path: see `read_state_dict`. Nothing is downloaded.
        device: where the model goes.
        image_size: pixels (height, width) that the preprocessing produces; the model itself takes any size. Default: the
            size that the weights were trained on.
        activation: `quick_gelu` or `gelu`, if the file's own is unknown or wrong.

    Returns:
        The model, and a `Preprocess` that squashes the whole picture to the size (OpenAI's own transform crops the centre:
        `Preprocess(resize_mode="shortest")`).

    Raises:
        WeightsError: see `read_state_dict` and `build_model`.
    """
    model = build_model(read_state_dict(path, activation=activation), image_size=image_size).to(device).eval()
    return model, Preprocess(size=image_size or model.config.vision.image_size)


def build_model(weights: LoadedWeights, *, image_size: tuple[int, int] | None = None) -> CLIP:
    """A model on the CPU, in fp32, that owns copies of the tensors.

    Args:
        image_size: see `infer_config`.

    Raises:
        WeightsError: tensors are missing, unexpected or of another shape: all are listed.
    """
    try:
        config = infer_config(weights.tensors, weights.activation, image_size)
        with torch.device("meta"):  # No memory, nor random initial values.
            model = CLIP(config)
        owned = {
            name: tensor.to(dtype=torch.float32, copy=True, memory_format=torch.contiguous_format)
            for name, tensor in weights.tensors.items()
        }
        model.load_state_dict(owned, strict=True, assign=True)
    except KeyError as error:
        raise WeightsError(
            f"{weights.path} ({weights.format}) has no tensor {error}. It may be a single tower, a SigLIP model, or have a "
            "ResNet or a model of timm as visual tower.",
            "Use a full CLIP with a Vision Transformer, for example OpenAI's ViT-B-16.pt.",
        ) from error
    except (ArithmeticError, ValueError, RuntimeError) as error:
        problem = textwrap.shorten(str(error), 4000)
        raise WeightsError(f"{weights.path}: its tensors are not those of a CLIP: {problem}") from error
    return model


def infer_config(
    tensors: Mapping[str, Tensor], activation: Activation, image_size: tuple[int, int] | None = None
) -> CLIPConfig:
    """The configuration of the CLIP that these tensors (OpenAI's names) belong to.

    The number of attention heads does not show in any shape: heads are taken to be 64 wide, as OpenAI's always are.

    Args:
        tensors: a state dict with both towers.
        activation: see `infer_activation`.
        image_size: pixels (height, width), needed only if the positional embedding is not that of a square image.

    Raises:
        KeyError: a tensor that determines the shape is missing.
        ValueError: no CLIP has such shapes.
    """
    width, _, _, patch = tensors["visual.conv1.weight"].shape
    positions = len(tensors["visual.positional_embedding"]) - 1
    side = math.isqrt(max(positions, 0))
    if side * side == positions:
        image_size = (side * patch, side * patch)
    elif image_size is None or (image_size[0] // patch) * (image_size[1] // patch) != positions:
        raise ValueError(
            f"Its positional embedding has {positions} patches, which do not form a square. "
            f"Give the size it was trained on: image_size=(height, width), multiples of {patch}."
        )
    vision_layers, text_layers = (
        len({name.removeprefix(blocks).partition(".")[0] for name in tensors if name.startswith(blocks)})
        for blocks in ("visual.transformer.resblocks.", "transformer.resblocks.")
    )
    context_length, text_width = tensors["positional_embedding"].shape
    _, embed_dim = tensors["visual.proj"].shape
    return CLIPConfig(
        VisionConfig(image_size, patch, width, vision_layers, _VISION_HEADS.get(width, width // HEAD_WIDTH)),
        TextConfig(context_length, width=text_width, layers=text_layers, heads=text_width // HEAD_WIDTH),
        embed_dim,
        activation,
    )


def infer_activation(path: Path, container: str, requested: str | None = None) -> Activation:
    """The activation of a weight file.

    In this order: the caller's request; a record `<file name>.json` beside the file, written when it was installed;
    quick_gelu for OpenAI's TorchScript archives; an `open_clip_config.json` or `config.json` beside it; words in its name.

    Raises:
        ActivationError: none of these says it. WeightsError: it is unknown, or the two towers have different ones.
    """
    if requested is not None:
        return _activation(requested)
    torchscript = container == "torchscript"
    for name in (f"{path.name}.json", *(() if torchscript else ("open_clip_config.json", "config.json"))):
        try:
            named = _named_activations(json.loads(path.with_name(name).read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            continue  # not there, or not the file of any of these libraries
        if len(named) > 1:
            raise WeightsError(f"Its {name} names two activations, {' and '.join(sorted(named))}.")
        if named:
            return _activation(*named)
    if torchscript:
        return "quick_gelu"
    lower = path.name.lower().replace("-", "").replace("_", "")
    if "quickgelu" in lower:
        return "quick_gelu"
    meant = {activation for word, activation in _WORDS.items() if word in lower}
    if len(meant) == 1:
        return meant.pop()
    raise ActivationError(
        "Nothing beside it or in its name says its activation, and with a wrong one all features are wrong.",
        activation_hint(str(path)),
    )


def activation_hint(source: str) -> str:
    """The commands that install weights with either activation."""
    command = f"focus prepare weights {shlex.quote(source)} --activation"
    return f"OpenAI, DFN, MetaCLIP: {command} quickgelu   LAION, DataComp, others: {command} gelu"


def _named_activations(config: dict[str, Any]) -> set[str]:
    """What the record of an installed file, or the configuration of another library, says."""
    if "activation" in config:
        return {str(config["activation"])}
    if "model_cfg" in config:  # of open_clip
        return {"quick_gelu" if config["model_cfg"].get("quick_gelu") else "gelu"}
    if str(config.get("model_type")).startswith("clip"):  # of transformers
        towers = [config[name] for name in ("vision_config", "text_config") if config.get(name)]
        return {str(tower.get("hidden_act", "quick_gelu")) for tower in towers or [config]}
    architecture = str(config.get("architecture"))  # of timm
    openai = "quickgelu" in architecture or str(config.get("pretrained_cfg", {}).get("tag")).startswith("openai")
    return {"quick_gelu" if openai else "gelu"} if "clip" in architecture else set()


def _activation(name: object) -> Activation:
    if name == "quickgelu":  # open_clip's spelling
        return "quick_gelu"
    if name == "quick_gelu" or name == "gelu":
        return name
    raise WeightsError(f'Unknown activation "{name}".', "Known: quick_gelu (OpenAI) and gelu (LAION, DataComp).")
