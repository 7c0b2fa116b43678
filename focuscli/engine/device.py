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
    """Refuse a precision that a torch model does not run in.

    Raises:
        UsageError: names those that there are.
    """
    if name not in PRECISIONS:
        hint = f"Known: {', '.join(PRECISIONS)}."
        if name == "int8":
            hint = (
                "int8 is for exported models: focus export --int8, then focus predict --backend onnx --precision int8"
            )
        raise UsageError(f"A checkpoint does not run in precision {name}.", hint)


def effective_precision(device: torch.device, precision: str) -> str:
    """`fp32` or `bf16`: what `auto` means on this device."""
    return "bf16" if precision == "bf16" or (precision == "auto" and device.type == "cuda") else "fp32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision where the effective precision is bf16; parameters stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=effective_precision(device, precision) == "bf16")


def compile_layers(model: Method, device: torch.device, *, backend: str = "inductor") -> None:
    """Compile each layer of the visual tower, nine tenths of a training step, when it is first called.

    Layers of one shape share the compiled code. Names of parameters, checkpoints and copies of the model stay the same;
    copies are not compiled.

    Raises:
        RequirementError: the compiler that generates code for the device is missing.
    """
    missing = _missing_compiler(device) if backend == "inductor" else ""
    if missing:
        raise RequirementError(f"train.compile needs {missing}, and there is none.", "Train without --compile.")
    for layer in model.clip.visual.transformer.resblocks:
        layer.compile(backend=backend)


def _missing_compiler(device: torch.device) -> str:
    """What code generation for the device lacks, in words."""

    def found(variable: str, *programs: str) -> bool:
        chosen = os.environ.get(variable)
        return any(shutil.which(name) for name in ([chosen] if chosen else programs))

    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "the package triton"
        return "" if found("CC", "cc", "gcc", "clang") else "a C compiler (gcc or clang)"
    return "" if found("CXX", "g++", "clang++") else "a C++ compiler (g++ or clang++)"
