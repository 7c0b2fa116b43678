"""Rows of all processes, with gradients. torch.distributed's own functions for this are deprecated."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor, rank: int, size: int) -> Tensor:
    """[N, ...] of each process -> [size * N, ...] in all; see `focuscli.engine.distributed.ProcessGroup.gather_rows`."""
    exact = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    gathered: Tensor = _GatherRows.apply(exact, rank, size)
    return gathered


class _GatherRows(torch.autograd.Function):
    """All processes' rows; backward adds up what all processes want of this one's."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.rows = rank, len(rows)
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        wanted = gradients[0].contiguous().clone()  # autograd may still need the one that it gave
        dist.all_reduce(wanted)
        return wanted[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None, None
