"""torch.compile, for the layers of the visual tower: nine tenths of a training step."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from focuscli.errors import RequirementError
from focuscli.models.base import Method


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
        if importlib.util.find_spec("triton") is None:
            return "the package triton"
        return "" if _any("CC", "cc", "gcc", "clang") else "a C compiler (gcc or clang)"
    return "" if _any("CXX", "g++", "clang++") else "a C++ compiler (g++ or clang++)"


def _any(variable: str, *usual: str) -> bool:
    """Whether a program is there: the one that an environment variable names, where it is set, or a usual one."""
    named = os.environ.get(variable)
    return any(shutil.which(name) for name in ([named] if named else usual))
