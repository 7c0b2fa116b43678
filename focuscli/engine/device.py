"""Device, precision and compilation, from their names in the configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil

import torch

from focuscli.errors import RequirementError, UsageError
from focuscli.models.base import Method

PRECISIONS = ("auto", "fp32", "bf16")


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device that exists.

    Raises:
        RequirementError: this machine or this build of torch has no such device.
        UsageError: an unknown name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f'Unknown device "{name}".', "Use auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        build = "a CPU build" if torch.version.cuda is None else f"a build for CUDA {torch.version.cuda}"
        raise RequirementError(
            f"No CUDA device for --device {name}: this torch ({torch.__version__}) is {build} "
            f"and sees {torch.cuda.device_count()} of them.",
            "Use --device cpu, or install a build for your driver; focus doctor shows more.",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequirementError("No Apple GPU (mps) on this machine.", "Use --device cpu.")
    return device


def check_precision(name: str) -> None:
    """Refuse a precision that a torch model does not run in (UsageError)."""
    if name not in PRECISIONS:
        raise UsageError(
            f"A checkpoint does not run in precision {name}.",
            f"Known: {', '.join(PRECISIONS)}. For int8: focus export --int8, then focus predict --backend onnx --precision int8",
        )


def effective_precision(device: torch.device, precision: str) -> str:
    """`fp32` or `bf16`: what `auto` means on this device."""
    return "bf16" if precision == "bf16" or (precision == "auto" and device.type == "cuda") else "fp32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision where the effective precision is bf16; parameters stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=effective_precision(device, precision) == "bf16")


def compile_layers(model: Method, device: torch.device) -> None:
    """Compile each layer of the visual tower, nine tenths of a training step, when it is first called.

    Layers of one shape share the compiled code. Names of parameters, checkpoints and copies of the model stay the same;
    copies are not compiled. RequirementError where the compiler that generates code for the device is missing.
    """
    variable, *programs = ("CC", "cc", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    found = any(map(shutil.which, (os.environ.get(variable, ""), *programs)))
    missing = "" if found else f"a compiler ({programs[-2]})"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        missing = "the package triton"
    if missing:
        raise RequirementError(f"train.compile needs {missing}, and there is none.", "Train without --compile.")
    for layer in model.clip.visual.transformer.resblocks:
        layer.compile()
