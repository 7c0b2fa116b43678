"""A model trained by several processes as if by one: mean gradients, losses over the whole batch, shared batch norms."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from focuscli.engine.distributed import ProcessGroup, lost_workers
from focuscli.models.base import Method


def replicate(model: Method, process_group: ProcessGroup, device: torch.device) -> nn.Module:
    """What to call in place of the model in training: the model itself in a group of one, else DistributedDataParallel.

    Every process starts with the main one's weights, `backward` leaves the mean of all gradients in each, and the statistics
    of every batch norm are those of all processes.
    """
    if process_group.world_size == 1:
        return model
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = GlobalBatchNorm1d
    with lost_workers():
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


class GlobalBatchNorm1d(nn.BatchNorm1d):
    """`nn.SyncBatchNorm` for the CPU: mean and variance are those of all processes' rows."""

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return super().forward(rows)
        every: Tensor = super().forward(gather_rows(rows))
        return every[dist.get_rank() * len(rows) :][: len(rows)]


def gather_rows(rows: Tensor) -> Tensor:
    """[N, ...] of each process, equal shapes -> [processes * N, ...] in order of rank, at least in fp32.

    The gradient is that of the sum of all processes' results. Where all compute the same loss from the rows, that is the
    number of processes times the loss's own gradient, which the mean of DistributedDataParallel undoes exactly.
    """
    gathered: Tensor = _GatherRows.apply(rows if rows.dtype == torch.float64 else rows.float())
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
