"""Device, precision and threads from the words of the configuration."""

from __future__ import annotations

import contextlib

import torch

from focuscli.errors import RequirementError, UsageError

PRECISIONS = ("auto", "fp32", "bf16")


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device that exists.

    Raises:
        RequirementError: this machine or this build of torch has no such device.
        UsageError: no known word.
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


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision: bf16 where asked for, and by `auto` on GPUs; parameters stay fp32."""
    enabled = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def effective_precision(device: torch.device, precision: str) -> str:
    """`fp32` or `bf16`, for the record."""
    return "bf16" if precision == "bf16" or (precision == "auto" and device.type == "cuda") else "fp32"
