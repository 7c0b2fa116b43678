"""From the outputs of a method to its losses: one criterion per family of methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from focuscli.config import LossConfig
from focuscli.models.losses import (
    grouped_many_to_many_loss,
    mix_diversity_loss,
    region_contrastive_loss,
    weighted_binary_cross_entropy,
)
from focuscli.models.outputs import ImageFeatures, MethodOutput


class Criterion(nn.Module, ABC):
    """The losses of a batch. What they need to know of the training set are buffers; there are no parameters.

    Attributes:
        names: of the losses that `forward` returns, without "loss".
        inputs: the fields of `ImageFeatures` and `MethodOutput` that `forward` reads. With several processes only these
            hold the rows of all of them.
    """

    names: ClassVar[tuple[str, ...]]
    inputs: ClassVar[tuple[str, ...]]
    groups: Tensor
    blocks: Tensor
    positive_rate: Tensor

    def __init__(self, weights: LossConfig, *, groups: Tensor, blocks: Tensor, positive_rate: Tensor) -> None:
        """Keep the constants of a training set.

        Args:
            weights: of the losses.
            groups: [Z, Q] bool, membership of text z in group q.
            blocks: [Z, Z], the block matrix (Eq. 6).
            positive_rate: [Z], share of positives in the training split.
        """
        super().__init__()
        self.weights = weights
        self.register_buffer("groups", groups)
        self.register_buffer("blocks", blocks)
        self.register_buffer("positive_rate", positive_rate)

    @abstractmethod
    def forward(
        self, features: ImageFeatures, output: MethodOutput, targets: Tensor, known: Tensor, progress: float = 0.0
    ) -> dict[str, Tensor]:
        """The losses by name, and their weighted sum as "loss". Call it outside of mixed precision.

        Args:
            features, output: what the model returns for the batch.
            targets, known: [B, Z]; known is False where a label is uncertain.
            progress: the completed share of the run, 0 to 1.
        """


class FocusCriterion(Criterion):
    """L_v2t, L_t2v, L_sim and L_racl (Eq. 8); a similarity loss whose weight is 0 is not computed."""

    names = ("v2t", "t2v", "lsim", "racl")
    inputs = ("tokens", "scores", "attention_maps")

    def forward(
        self, features: ImageFeatures, output: MethodOutput, targets: Tensor, known: Tensor, progress: float = 0.0
    ) -> dict[str, Tensor]:
        weights = self.weights
        v2t, t2v = grouped_many_to_many_loss(output.scores, targets, self.groups, known)
        lsim, racl = v2t.new_zeros(()), v2t.new_zeros(())
        if weights.lsim:
            lsim = mix_diversity_loss(features.tokens, eps=weights.eps)
        if weights.racl:
            maps = output.attention_maps.mean(dim=0) if weights.racl_over == "batch" else output.attention_maps
            racl = region_contrastive_loss(maps, self.blocks, eps=weights.eps)
        ramp = min(1.0, progress / weights.racl_ramp) if weights.racl_ramp else 1.0
        total = weights.v2t * v2t + weights.t2v * t2v + weights.lsim * lsim + ramp * weights.racl * racl
        return {"v2t": v2t, "t2v": t2v, "lsim": lsim, "racl": racl, "loss": total}


class PoarCriterion(Criterion):
    """The many-to-many loss in both directions; as in POAR's code only texts that are true of some image of the batch are
    candidates."""

    names = ("v2t", "t2v")
    inputs = ("scores",)

    def forward(
        self, features: ImageFeatures, output: MethodOutput, targets: Tensor, known: Tensor, progress: float = 0.0
    ) -> dict[str, Tensor]:
        present = ((targets > 0.5) & known).any(dim=0, keepdim=True)
        v2t, t2v = grouped_many_to_many_loss(output.scores, targets, self.groups, known & present)
        return {"v2t": v2t, "t2v": t2v, "loss": self.weights.v2t * v2t + self.weights.t2v * t2v}


class VtbCriterion(Criterion):
    """Binary cross-entropy in which rare labels weigh more."""

    names = ("bce",)
    inputs = ("scores",)

    def forward(
        self, features: ImageFeatures, output: MethodOutput, targets: Tensor, known: Tensor, progress: float = 0.0
    ) -> dict[str, Tensor]:
        bce = weighted_binary_cross_entropy(output.scores, targets, self.positive_rate, known)
        return {"bce": bce, "loss": bce}
