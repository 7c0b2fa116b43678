"""CLIP weights from a file of any usual format, recognised by its content, and the model they belong to.

Nothing in a file is executed: TorchScript archives go through `torchscript`, pickles through torch's `weights_only`
unpickler, and what that refuses is refused here, with advice.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clip_impl.activations import find_activation
from clip_impl.config import Activation, CLIPConfig, check_image_size
from clip_impl.containers import file_sha256, read_container
from clip_impl.errors import WeightsError
from clip_impl.formats import canonical
from clip_impl.model import CLIP
from clip_impl.preprocess import Preprocess
from clip_impl.shapes import infer_config

__all__ = ["LoadedWeights", "WeightsError", "infer_config", "load", "read_state_dict"]

OPENAI_SHA256 = {"ViT-B-16.pt": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"}
"""Digests of OpenAI's published files; each is also part of the file's download address."""

_SHOWN = 60


@dataclass(frozen=True)
class LoadedWeights:
    """What a weight file holds.

    Attributes:
        tensors: by OpenAI's names, in the file's dtypes (OpenAI's own mix fp16 and fp32), on the CPU.
        format: container and layout, for example `torchscript/openai` or `safetensors/huggingface`.
        activation: of the blocks' MLPs.
        activation_source: what told the activation; `default` means that nothing did.
        sha256: of the file, empty where verification was off.
        visual_only: whether there is no text tower.
    """

    tensors: dict[str, Tensor]
    format: str
    activation: Activation
    activation_source: str
    sha256: str
    visual_only: bool


def read_state_dict(
    path: str | os.PathLike[str], *, activation: str | None = None, verify: bool = True, name: str | None = None
) -> LoadedWeights:
    """Read a weight file, or the one in a folder as `transformers` and `open_clip` save it.

    Args:
        path: file or folder; its name and extension do not matter.
        activation: overrides what the file and its neighbours tell.
        verify: compute the file's sha256 and make sure that every value is finite.
        name: the file's usual name, where it lies under another one for now.

    Raises:
        WeightsError: not found, not readable safely, or no CLIP with a Vision Transformer.
    """
    file = weight_file(Path(path).expanduser())
    container, content = read_container(file)
    try:
        tensors, layout = canonical(content)
        used, source = find_activation(file.with_name(name or file.name), container, activation)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error.problem}", error.hint) from error
    digest = ""
    if verify:
        broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise WeightsError(f"{file}: {len(broken)} tensors hold infinite values or NaN, the first is {broken[0]}.")
        digest = file_sha256(file)
        if container == "torchscript" and OPENAI_SHA256.get(file.name, digest) != digest:
            logging.getLogger(__name__).warning("%s is not the file that OpenAI published: sha256 %s", file, digest)
    return LoadedWeights(
        tensors=tensors,
        format=f"{container}/{layout}",
        activation=used,
        activation_source=source,
        sha256=digest,
        visual_only="token_embedding.weight" not in tensors,
    )


def load(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    image_size: int | tuple[int, int] | None = None,
    activation: str | None = None,
    verify: bool = True,
) -> tuple[CLIP, Preprocess]:
    """A model with the weights of a local file, in evaluation mode, and the preprocessing for it.

    Args:
        path: see `read_state_dict`. Nothing is downloaded.
        device: where the model goes.
        dtype: of all parameters; fp32 holds fp16 files exactly.
        image_size: pixels (height, width), or the side of a square, that the preprocessing gives; the model itself takes
            any size. Default: the size that the weights were trained on.
        activation: `quick_gelu` or `gelu`, where the file's own is unknown or wrong.
        verify: see `read_state_dict`.

    Returns:
        The model, and a `Preprocess` that squashes the whole picture to the size (OpenAI's own transform, which crops the
        centre, is `clip_impl.openai_transform`).

    Raises:
        WeightsError: see `read_state_dict`; or tensors are missing, unexpected or of another shape: all are listed.
        ValueError: `image_size` does not divide into patches.
    """
    weights = read_state_dict(path, activation=activation, verify=verify)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    try:
        config = check_model(weights, image_size=size)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.problem}", error.hint) from error
    model = build_model(config, weights.tensors, dtype=dtype)
    size = size or config.vision.image_size
    check_image_size(size, config.vision.patch_size)
    return model.to(device).eval(), Preprocess(size=size)


def check_model(weights: LoadedWeights, *, image_size: tuple[int, int] | None = None) -> CLIPConfig:
    """The configuration of the weights' model (see `infer_config`), which they fill without gaps.

    Raises:
        WeightsError: no such model, only the visual tower of one, or tensors that do not fit: all are listed.
    """
    if weights.visual_only:
        raise WeightsError(
            f"It holds only the visual tower ({weights.format}); the texts need the other one too.",
            "Use a full CLIP file, for example OpenAI's ViT-B-16.pt.",
        )
    config = infer_config(weights.tensors, weights.activation, image_size=image_size)
    _check_tensors(_empty_model(config), weights.tensors)
    return config


def build_model(config: CLIPConfig, tensors: dict[str, Tensor], *, dtype: torch.dtype = torch.float32) -> CLIP:
    """A model on the CPU that owns copies of the tensors (OpenAI's names).

    Raises:
        WeightsError: lists every missing, unexpected and reshaped tensor.
    """
    model = _empty_model(config)
    _check_tensors(model, tensors)
    owned = {
        name: tensor.to(dtype=dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    model.load_state_dict(owned, strict=True, assign=True)
    return model


def _empty_model(config: CLIPConfig) -> CLIP:
    """Parameters without memory, and without random initial values that would be thrown away."""
    with torch.device("meta"):
        return CLIP(config)


def _check_tensors(model: CLIP, tensors: dict[str, Tensor]) -> None:
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
        lines = [f"{len(names)} {kind}: {_list(names)}" for kind, names in wrong.items() if names]
        raise WeightsError("The tensors are not those of this model. " + "; ".join(lines) + ".")


def weight_file(path: Path) -> Path:
    """The weight file that `path` is, or that the folder `path` holds.

    Raises:
        WeightsError: there is none.
    """
    if path.is_dir():
        names = ("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
        for name in names:
            if (path / name).is_file():
                return path / name
        raise WeightsError(
            f"{path} is a folder without {', '.join(names[:-1])} or {names[-1]}.", "Name the file itself."
        )
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", "Name a weight file, for example OpenAI's ViT-B-16.pt.")
    return path


def _list(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
