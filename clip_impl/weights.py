"""CLIP weights from a file of any usual format, and the model they belong to."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clip_impl.config import Activation, CLIPConfig, check_image_size
from clip_impl.containers import read_container
from clip_impl.convert import to_openai_state_dict
from clip_impl.errors import WeightsError
from clip_impl.infer import infer_activation, infer_config
from clip_impl.model import CLIP
from clip_impl.preprocess import Preprocess

_FOLDER_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
_SHOWN_NAMES = 60
# Digests of OpenAI's files; each is also part of the file's download address.
OPENAI_SHA256 = {"ViT-B-16.pt": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"}


@dataclass(frozen=True)
class LoadedWeights:
    """The content of a weight file.

    Attributes:
        path: the file.
        tensors: by OpenAI's names, in the file's dtypes (OpenAI's own mix fp16 and fp32), on the CPU.
        format: container and layout, for example `torchscript/openai` or `safetensors/huggingface`.
        activation: of the blocks' MLPs.
        activation_source: how the activation is known; `default` means that it is assumed.
        sha256: of the file.
    """

    path: Path
    tensors: dict[str, Tensor]
    format: str
    activation: Activation
    activation_source: str
    sha256: str


def read_state_dict(path: str | os.PathLike[str], *, activation: str | None = None) -> LoadedWeights:
    """Read a weight file, or the one in a folder as `transformers` and `open_clip` save it. No code in it is run.

    Args:
        path: file or folder; its extension does not matter.
        activation: overrides what the file, its name and its surroundings say.

    Raises:
        WeightsError: not found, not readable safely, not a CLIP with a Vision Transformer, or with values that are not
            finite.
    """
    file = _weight_file(Path(path).expanduser())
    container, content = read_container(file)
    try:
        tensors, layout = to_openai_state_dict(content)
        used, source = infer_activation(file, container, activation)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error.problem}", error.hint) from error
    except RuntimeError as error:  # Query, key and value of different shapes cannot be joined.
        raise WeightsError(f"{file}: its tensors do not fit together: {error}.") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(f"{file} has infinite values or NaN in {_shorten(broken)}.")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if container == "torchscript" and OPENAI_SHA256.get(file.name, digest) != digest:
        logging.getLogger(__name__).warning("%s is not the file that OpenAI published: sha256 %s", file, digest)
    return LoadedWeights(file, tensors, f"{container}/{layout}", used, source, digest)


def load(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    image_size: int | tuple[int, int] | None = None,
    activation: str | None = None,
) -> tuple[CLIP, Preprocess]:
    """A model with the weights of a local file, in evaluation mode, and the preprocessing for it.

    Args:
        path: see `read_state_dict`. Nothing is downloaded.
        device: where the model goes.
        dtype: of all parameters; fp32 holds fp16 files exactly.
        image_size: pixels (height, width), or the side of a square, that the preprocessing produces; the model itself
            takes any size. Default: the size that the weights were trained on.
        activation: `quick_gelu` or `gelu`, if the file's own is unknown or wrong.

    Returns:
        The model, and a `Preprocess` that squashes the whole picture to the size (OpenAI's own transform, which crops the
        centre, is `clip_impl.openai_transform`).

    Raises:
        WeightsError: see `read_state_dict`; or tensors are missing, unexpected or of another shape: all are listed.
        ValueError: `image_size` does not divide into patches.
    """
    weights = read_state_dict(path, activation=activation)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    config = check_model(weights, image_size=size)
    size = size or config.vision.image_size
    check_image_size(size, config.vision.patch_size)
    return build_model(config, weights.tensors, dtype=dtype).to(device).eval(), Preprocess(size=size)


def check_model(weights: LoadedWeights, *, image_size: tuple[int, int] | None = None) -> CLIPConfig:
    """The configuration of the weights' model (see `infer_config`), after a check that they fill it exactly.

    Raises:
        WeightsError: no such model, only the visual tower of one, or tensors that do not fit: all are listed.
    """
    if "token_embedding.weight" not in weights.tensors:
        raise WeightsError(
            f"{weights.path} holds only the visual tower ({weights.format}); text features need the other one too.",
            "Use a full CLIP file, for example OpenAI's ViT-B-16.pt.",
        )
    try:
        config = infer_config(weights.tensors, weights.activation, image_size=image_size)
        _empty_model(config, weights.tensors)
    except WeightsError as error:
        raise WeightsError(f"{weights.path}: {error.problem}", error.hint) from error
    return config


def build_model(config: CLIPConfig, tensors: dict[str, Tensor], *, dtype: torch.dtype = torch.float32) -> CLIP:
    """A model on the CPU that owns copies of the tensors (OpenAI's names).

    Raises:
        WeightsError: lists every missing, unexpected and reshaped tensor.
    """
    model = _empty_model(config, tensors)
    owned = {
        name: tensor.to(dtype=dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    model.load_state_dict(owned, strict=True, assign=True)
    return model


def _empty_model(config: CLIPConfig, tensors: dict[str, Tensor]) -> CLIP:
    """A model for these tensors whose parameters take no memory yet, nor random initial values."""
    with torch.device("meta"):
        model = CLIP(config)
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    wrong = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]}, want {shape}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    if any(wrong.values()):
        lines = [f"{len(names)} {kind}: {_shorten(names)}" for kind, names in wrong.items() if names]
        raise WeightsError("The tensors are not those of this model. " + "; ".join(lines) + ".")
    return model


def _weight_file(path: Path) -> Path:
    """The weight file that `path` is, or that the folder `path` holds."""
    if path.is_dir():
        for name in _FOLDER_FILES:
            if (path / name).is_file():
                return path / name
        raise WeightsError(f"{path} is a folder without a {' or '.join(_FOLDER_FILES)}.", "Name the file itself.")
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", "Name a weight file, for example OpenAI's ViT-B-16.pt.")
    return path


def _shorten(names: list[str]) -> str:
    rest = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
