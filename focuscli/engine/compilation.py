"""torch.compile, for the layers of the visual tower: nine tenths of a training step."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from focuscli.errors import RequirementError
from focuscli.methods.base import Method


def compile_layers(model: Method, device: torch.device, *, backend: str = "inductor") -> None:
    """Have each layer compiled when it is first called; layers of one shape share what is compiled.

    Names of parameters, checkpoints and copies of the model stay as they are; copies are not compiled.

    Raises:
        RequirementError: what generates code for the device is missing.
    """
    missing = _missing(device) if backend == "inductor" else ""
    if missing:
        raise RequirementError(f"train.compile needs {missing}, and there is none.", "Train without --compile.")
    for layer in model.clip.visual.transformer.resblocks:
        layer.compile(backend=backend)


def _missing(device: torch.device) -> str:
    """What code generation lacks, in words."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "the package triton"
    compilers = (os.environ.get("CXX", ""), "g++", "clang++")
    return "" if any(shutil.which(name) for name in compilers if name) else "a C++ compiler (g++ or clang++)"
