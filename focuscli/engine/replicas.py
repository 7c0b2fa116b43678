"""A model trained by several processes as if by one: mean gradients, losses over the whole batch, shared batch norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from focuscli.engine.distributed import ProcessGroup, lost_workers
from focuscli.errors import UsageError
from focuscli.models.base import Method
from focuscli.models.outputs import ImageFeatures, MethodOutput

Rows = TypeVar("Rows", ImageFeatures, MethodOutput)


def replicate(model: Method, process_group: ProcessGroup, device: torch.device) -> nn.Module:
    """What to call in place of the model in training: the model itself in a group of one, else DistributedDataParallel.

    Every process starts with the main one's weights, and `backward` leaves the mean of all gradients in each.
    """
    if process_group.world_size == 1:
        return model
    with lost_workers():
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


def gather_outputs(
    features: ImageFeatures, output: MethodOutput, names: Sequence[str], process_group: ProcessGroup
) -> tuple[ImageFeatures, MethodOutput]:
    """The rows of all processes in the fields of these names; see `gather_rows`."""
    if process_group.world_size == 1:
        return features, output

    def gathered(part: Rows) -> Rows:
        return replace(part, **{f.name: gather_rows(getattr(part, f.name)) for f in fields(part) if f.name in names})

    return gathered(features), gathered(output)


def gather_rows(rows: Tensor) -> Tensor:
    """[N, ...] of each process, equal shapes -> [processes * N, ...] in order of rank, at least in fp32.

    The gradient is that of the sum of all processes' results. Where all compute the same loss from the rows, that is the
    number of processes times the loss's own gradient, which the mean of DistributedDataParallel undoes exactly.
    """
    exact = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    with lost_workers():
        gathered: Tensor = _GatherRows.apply(exact)
    return gathered


class _GatherRows(torch.autograd.Function):
    """torch.distributed's own functions for this are deprecated."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()  # autograd may still need the one that it passed
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.rows :][: ctx.rows]


class GlobalBatchNorm1d(nn.BatchNorm1d):
    """`nn.SyncBatchNorm` for the CPU: mean and variance are those of all processes' rows."""

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        """Take the place of `norm`, with its parameters and buffers themselves."""
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return super().forward(rows)
        every: Tensor = super().forward(gather_rows(rows))
        return every[dist.get_rank() * len(rows) :][: len(rows)]


def share_batch_norms(model: nn.Module, process_group: ProcessGroup, device: torch.device) -> None:
    """Compute the statistics of every batch norm over all processes; parameters and their names stay."""
    if process_group.world_size == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm1d):
                setattr(module, name, GlobalBatchNorm1d(child))
