"""A model trained by several processes as if by one: mean gradients, losses over the whole batch, one batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from focuscli.engine.distributed import ProcessGroup
from focuscli.errors import UsageError
from focuscli.models.base import Method
from focuscli.models.outputs import ImageFeatures, MethodOutput

Rows = TypeVar("Rows", ImageFeatures, MethodOutput)


def replicate(model: Method, process_group: ProcessGroup, device: torch.device) -> nn.Module:
    """What to call in place of the model in training: the model itself in a group of one, else DistributedDataParallel.

    Every process starts with the first one's weights, and `backward` leaves the mean of all gradients in each.
    """
    if process_group.world_size == 1:
        return model
    with process_group.talking():
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def check_divides(batch_size: int, processes: int) -> None:
    """Refuse a batch that cannot be shared equally.

    Raises:
        UsageError: with the nearest sizes that can.
    """
    if batch_size % processes:
        below = batch_size // processes * processes
        fitting = [str(size) for size in (below, below + processes) if size >= 2]
        raise UsageError(
            f"A batch of {batch_size} images does not divide over {processes} processes.",
            f"--batch-size counts the images of all processes; use {' or '.join(fitting)}.",
        )


def gather(
    features: ImageFeatures, output: MethodOutput, names: Sequence[str], process_group: ProcessGroup
) -> tuple[ImageFeatures, MethodOutput]:
    """The rows of all processes in the fields of these names; see `ProcessGroup.gather_rows`."""
    if process_group.world_size == 1:
        return features, output

    def gathered(part: Rows) -> Rows:
        here = [field.name for field in fields(part) if field.name in names]
        return replace(part, **{name: process_group.gather_rows(getattr(part, name)) for name in here})

    return gathered(features), gathered(output)


class GlobalBatchNorm1d(nn.BatchNorm1d):
    """Batch norm whose mean and variance are those of all processes' rows. torch's own for this needs a GPU."""

    def __init__(self, norm: nn.BatchNorm1d, process_group: ProcessGroup) -> None:
        """Take the place of `norm`, with its parameters and buffers themselves."""
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.process_group = process_group

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return super().forward(rows)
        every: Tensor = super().forward(self.process_group.gather_rows(rows))
        return every[self.process_group.rank * len(rows) : (self.process_group.rank + 1) * len(rows)]


def share_batch_norms(model: nn.Module, process_group: ProcessGroup) -> None:
    """Put a `GlobalBatchNorm1d` in the place of every batch norm; parameters and their names stay.

    Raises:
        TypeError: a batch norm over images, whose statistics would be each process's own; no method has one.
    """
    if process_group.world_size == 1:
        return
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm1d):
                setattr(module, name, GlobalBatchNorm1d(child, process_group))
            elif isinstance(child, nn.modules.batchnorm._BatchNorm):
                raise TypeError(f"{type(child).__name__} cannot be shared by several processes; BatchNorm1d can")
