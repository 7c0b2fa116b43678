"""Tensors that say they are on cuda:0 while their values are on the CPU, for tests of what moves where without a GPU.

An operation on tensors of both kinds raises `MixedDevices` where CUDA would refuse it: it takes single numbers from the CPU
(but not in the lists of fused optimisers), and copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA = torch.device("cuda", 0)


class MixedDevices(AssertionError):
    """An operation was given tensors of two devices."""


class OnCuda(Tensor):
    """A tensor that claims to be on cuda:0; `values` is the real one."""

    values: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> OnCuda:
        shape = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        made: OnCuda = Tensor._make_wrapper_subclass(cls, values.size(), device="cpu", **shape)
        made.values = values.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, kwargs = (args, kwargs or {}), kwargs or {}
        others = [value for value in tree_leaves(given) if isinstance(value, Tensor) and not isinstance(value, cls)]
        in_list = any(
            isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value) for value in args
        )
        name = function._schema.name.removeprefix("aten::")
        copies = name == "copy_" or name.startswith("index")
        if not copies and any(value.dim() or in_list for value in others):
            raise MixedDevices(f"{name}: cuda:0 and {[*map(tuple, (value.shape for value in others))]} on the CPU")
        result = function(*tree_map_only(cls, lambda value: value.values, args), **real(kwargs))
        if function._schema.is_mutable:  # in place: the caller keeps its own tensor
            return args[0] if function._schema.returns else None
        return tree_map_only(Tensor, cls, result)


def real(values: Any) -> Any:
    """The same with real tensors."""
    return tree_map_only(OnCuda, lambda value: value.values, values)


class _Mode(TorchFunctionMode):
    """Inside, what asks for the device cuda gets an `OnCuda`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name, first = dict(kwargs or {}), getattr(function, "__name__", ""), args[0] if args else None
        pretended = isinstance(first, OnCuda)
        if name == "__get__" and pretended and function in (Tensor.device.__get__, Tensor.is_cuda.__get__):
            return CUDA if function == Tensor.device.__get__ else True
        if name in ("tolist", "one_hot") and pretended:  # written in C++, where the tensor is on the CPU
            return tree_map_only(Tensor, OnCuda, function(*real(args), **kwargs))
        if name in ("to", "cpu"):
            like = [part for value in args[1:] if isinstance(value, Tensor) for part in (value.device, value.dtype)]
            wanted = [*like, *args[1:], *kwargs.values()]
            devices = [value for value in wanted if isinstance(value, (str, torch.device))]
            target = torch.device("cpu" if name == "cpu" else devices[0] if devices else first.device)
            types = [value for value in wanted if isinstance(value, torch.dtype)]
            moved = first
            if (target.type == "cuda") != pretended:
                moved = first.values.clone() if pretended else OnCuda(first.detach().clone())
            return Tensor.to(moved, types[0]) if types and types[0] != moved.dtype else moved
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            made = function(*real(args), **{**real(kwargs), "device": "cpu"})
            return OnCuda(made).requires_grad_(bool(kwargs.get("requires_grad")))
        return function(*args, **kwargs)


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """One GPU is there, and holds what is sent to it."""
    answers = {"is_available": True, "device_count": 1, "get_device_name": "pretended", "current_device": 0}
    answers |= {"get_rng_state": torch.zeros(1), "set_rng_state": None}
    health = "_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    patches = [patch.object(torch.cuda, name, lambda *_, value=value, **__: value) for name, value in answers.items()]
    optimizer = torch.optim.Optimizer
    patches += [patch.object(optimizer, name, lambda self: None) for name in health if hasattr(optimizer, name)]
    try:
        for each in patches:
            each.start()
        with _Mode():
            yield
    finally:
        for each in patches:
            each.stop()
        torch.__future__.set_overwrite_module_params_on_conversion(before)
