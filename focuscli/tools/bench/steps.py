"""One training step of FOCUS as `focus train` takes it, and the step that fine-tunes the visual tower alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focuscli.config import LossConfig, TrainConfig
from focuscli.data.regions import region_block_matrix
from focuscli.data.schema import Text
from focuscli.engine.device import autocast
from focuscli.engine.optim import build_optimizer
from focuscli.models.base import Method
from focuscli.models.criterion import FocusCriterion
from focuscli.models.losses import grouped_many_to_many_loss
from focuscli.tools.bench.models import clip_shape, random_focus, random_images

POSITIVE_RATE = 0.2


@dataclass(frozen=True)
class Batch:
    """Augmented, normalised images [B, 3, H, W] and targets [B, Z]."""

    images: Tensor
    targets: Tensor

    def first(self, count: int) -> Batch:
        return Batch(self.images[:count], self.targets[:count])


class VisualOnly(nn.Module):
    """Fine-tuning of the visual tower: class token against given text features [Z, D]; nothing else is in memory."""

    text_features: Tensor
    scale: Tensor
    groups: Tensor

    def __init__(self, visual: nn.Module, text_features: Tensor, scale: Tensor, groups: Tensor) -> None:
        super().__init__()
        self.visual = visual
        self.register_buffer("text_features", F.normalize(text_features, dim=-1))
        self.register_buffer("scale", scale)
        self.register_buffer("groups", groups)

    def loss(self, batch: Batch, precision: str) -> Tensor:
        with autocast(batch.images.device, precision):
            features = self.visual(batch.images)
            scores = self.scale * F.normalize(features, dim=-1) @ self.text_features.mT
        v2t, t2v = grouped_many_to_many_loss(scores, batch.targets, self.groups)
        return v2t + t2v


class Full(nn.Module):
    """FOCUS with all four losses; text tower frozen and prompts learned, as with CLIP's weights."""

    def __init__(self, model: Method, criterion: FocusCriterion) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion

    def loss(self, batch: Batch, precision: str) -> Tensor:
        with autocast(batch.images.device, precision):
            features, output = self.model(batch.images)
        known = torch.ones_like(batch.targets, dtype=torch.bool)
        return self.criterion(features, output, batch.targets, known)["loss"]


def build_full(model_name: str, device: torch.device, *, checkpointing: bool = False) -> Full:
    """The whole model, in training mode."""
    model, texts = random_focus(model_name)
    model.freeze(text_tower=True)
    model.clip.visual.transformer.gradient_checkpointing = checkpointing
    model.clip.transformer.gradient_checkpointing = checkpointing
    criterion = FocusCriterion(
        LossConfig(),
        groups=_groups(texts),
        blocks=torch.from_numpy(region_block_matrix(texts)).float(),
        positive_rate=torch.full((len(texts),), POSITIVE_RATE),
    )
    return Full(model, criterion).to(device).train()


def build_visual(model_name: str, device: torch.device) -> VisualOnly:
    """The visual tower alone, with the text features of the same weights."""
    model, texts = random_focus(model_name)
    with torch.no_grad():
        features = model.encode_texts()
    scale = model.clip.logit_scale.detach().exp()
    return VisualOnly(model.clip.visual, features, scale, _groups(texts)).to(device).train()


def build_batch(model_name: str, batch_size: int, device: torch.device) -> Batch:
    """Images and labels of the seed; one in five labels is positive."""
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(batch_size, 51, generator=generator) < POSITIVE_RATE).float()
    return Batch(random_images(batch_size, clip_shape(model_name).vision.image_size).to(device), targets.to(device))


def stepper(module: Full | VisualOnly, batch: Batch, precision: str) -> Callable[[], Tensor]:
    """One optimiser step per call, with AdamW as in training."""
    optimizer = build_optimizer(module, TrainConfig())

    def step() -> Tensor:
        loss = module.loss(batch, precision)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def _groups(texts: Sequence[Text]) -> Tensor:
    names = sorted({text.group for text in texts})
    return torch.tensor([[text.group == name for name in names] for text in texts])
