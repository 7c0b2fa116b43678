"""Optimiser, schedule and moving average; the one place that imports timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from focuscli.config import TrainConfig


def trained_parameters(model: nn.Module) -> dict[Tensor, str]:
    """The parameters that are trained, with their names."""
    return {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}


def zero_invariant_gradients(names: Mapping[Tensor, str]) -> None:
    """Set the gradients of biases to which the loss is invariant to 0, which they are but for rounding.

    A key's bias adds the same to a query's products with all keys, to which softmax is invariant; VTB's classifier is
    followed by a batch norm. AdamW divides a gradient by its size and would turn the rounding into steps as large as the
    learning rate. That does not change the scores, but two ways of computing the same gradient (batch sizes, numbers of
    processes) would lead to different weights.
    """
    for parameter, name in names.items():
        if parameter.grad is None:
            continue
        if name.endswith("in_proj_bias"):  # of queries, keys and values
            parameter.grad.chunk(3)[1].zero_()
        elif name.endswith((".key.bias", "classifier_bias")):
            parameter.grad.zero_()


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only, none on biases, norms and single vectors."""
    parameters = [*trained_parameters(model)]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def build_scheduler(optimizer: torch.optim.Optimizer, config: TrainConfig, total_steps: int) -> Any:
    """Linear warm-up, then cosine decay to 0 over all steps; `step_update(n)` sets the rate of optimiser step n.

    It is a function of n and `total_steps` alone: an extended run goes on along the curve of its new length.
    """
    from timm.scheduler.cosine_lr import CosineLRScheduler

    longest = min(total_steps - 1, int(config.warmup_share * total_steps))
    warmup = max(0, min(config.warmup_steps, longest))
    return CosineLRScheduler(
        optimizer,
        t_initial=total_steps,
        lr_min=0.0,
        warmup_t=warmup,
        warmup_lr_init=config.learning_rate / max(warmup, 1),
        t_in_epochs=False,
    )


def build_ema(model: nn.Module, config: TrainConfig) -> Any:
    """timm's moving average of the weights with warm-up, or None."""
    if not config.ema:
        return None
    from timm.utils.model_ema import ModelEmaV3

    # Warm-up keeps short runs from averaging in the random initial weights: the decay rises from 0 to `ema`.
    return ModelEmaV3(model, decay=config.ema, use_warmup=True, warmup_gamma=10.0, warmup_power=1.0)
