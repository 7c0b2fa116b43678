"""What every method offers to the training loop, the evaluation and the pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clip_impl import CLIP, TINY, VIT_B_16, CLIPConfig
from focuscli.config import LossConfig, ModelConfig
from focuscli.data.schema import Text
from focuscli.errors import UsageError


@dataclass(frozen=True)
class ImageFeatures:
    """The image side of a method.

    Attributes:
        tokens: [B, K, D], what texts are compared with: K tokens (FOCUS: M_out; the class token alone with MGMT off).
        patch_attention: A [B, K, rows, columns], attention of each token over patches, mean over heads and over the
            last layers asked for; None if none was asked for. 0 where a token cannot look.
    """

    tokens: Tensor
    patch_attention: Tensor | None = None


@dataclass(frozen=True)
class MethodOutput:
    """Scores and what they come from.

    Attributes:
        scores: [B, Z]; FOCUS: exp(logit_scale) * cos(V_z, T_z).
        attribute_features: V [B, Z, D].
        attention_maps: G [B, Z, K], what each text takes from each token; rows sum to 1.
    """

    scores: Tensor
    attribute_features: Tensor
    attention_maps: Tensor


@dataclass(frozen=True)
class LossContext:
    """What losses need beside a batch.

    Attributes:
        groups: [Z, Q] bool, membership of text z in group q.
        blocks: [Z, Z] (Eq. 6).
        positive_rate: [Z], share of positives in the training split.
        weights: of the losses. progress: done part of the run, 0 to 1.
    """

    groups: Tensor
    blocks: Tensor
    positive_rate: Tensor
    weights: LossConfig
    progress: float


class Method(nn.Module, ABC):
    """Images and texts to scores and losses. Texts are the training texts, or any others where the method can."""

    loss_names: tuple[str, ...]
    """Keys of `losses`, without "loss"."""
    loss_inputs: tuple[str, ...] = ("tokens", "scores", "attention_maps")
    """Fields of features and output that `losses` reads. With several processes only these hold the rows of all."""

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__()
        self.config = config
        self.clip = clip
        self.seen = tuple(texts)

    @property
    def texts(self) -> tuple[Text, ...]:
        """The texts seen in training: attributes, then complements."""
        return self.seen

    @property
    @abstractmethod
    def token_names(self) -> list[str]:
        """Names of the K tokens, for pictures."""

    @abstractmethod
    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> features, and attention over patches if asked for."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """One row per text, for `score`; without an argument the training texts. What is in a row is the method's own.

        Raises:
            UsageError: a text is empty or too long, or unseen where the method cannot take such.
        """

    @abstractmethod
    def score(self, tokens: Tensor, text_features: Tensor) -> MethodOutput:
        """Features [B, K, D] against rows of `encode_texts` [Z, ...]."""

    @abstractmethod
    def losses(
        self, features: ImageFeatures, output: MethodOutput, targets: Tensor, known: Tensor, context: LossContext
    ) -> dict[str, Tensor]:
        """The losses of a batch by name, and their weighted sum as "loss". Called outside of mixed precision.

        Args:
            features, output: of `forward`. targets, known: [B, Z]; known is False where a label is uncertain.
        """

    def forward(self, images: Tensor) -> tuple[ImageFeatures, MethodOutput]:
        """One training step's view: images [B, 3, H, W] (normalised) against all training texts."""
        features = self.encode_image(images)
        return features, self.score(features.tokens, self.encode_texts())

    def prompt_source(self, text: Text) -> str:
        """Whose learned prompt vectors a text is read with, in words."""
        return "no learned prompts"

    def freeze(self, *, text_tower: bool) -> None:
        """Fix what does not train: the temperature, the token embedding and what has no part in the scores always; with
        `text_tower` all of the text side of CLIP (gradients still flow through it into learned prompts).

        Without pretrained weights the tower trains on random token vectors: they tell the words apart as they are, and
        updating 49,408 rows for the few dozen words of a schema would be most of a small model's optimiser step.
        """
        self.clip.logit_scale.requires_grad_(False)
        self.clip.token_embedding.requires_grad_(False)
        for name, parameter in self.clip.named_parameters():
            if text_tower and not name.startswith("visual."):
                parameter.requires_grad_(False)
        for parameter in self.parameters():
            if (
                not parameter.numel()
            ):  # such as the prompts with RLP off; DistributedDataParallel waits for all that train
                parameter.requires_grad_(False)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""
        patch = self.clip.visual.config.patch_size
        return images.shape[-2] // patch, images.shape[-1] // patch


def mean_patch_attention(attention: Sequence[Tensor], readers: slice, grid: tuple[int, int]) -> Tensor:
    """Attention weights [B, heads, T, T] of some layers -> [B, K, rows, columns] of the reading tokens over the patches,
    which are the last tokens; mean over heads and layers."""
    patches = grid[0] * grid[1]
    weights = [layer[:, :, readers, -patches:].mean(dim=1) for layer in attention]
    return torch.stack(weights).mean(dim=0).unflatten(-1, grid)


def refuse_unseen(method: str, texts: Sequence[Text], seen: Sequence[Text]) -> None:
    """For methods with one classifier per attribute.

    Raises:
        UsageError: a text was not trained.
    """
    known = set(seen)
    for text in texts:
        if text not in known:
            raise UsageError(
                f'Method {method} has one classifier per trained attribute; it cannot score "{text.phrase}".',
                "Ask for attributes that it was trained on, or train --method focus.",
            )


def clip_config(config: ModelConfig) -> CLIPConfig:
    """CLIP's shape for a model trained from scratch: the preset with the configured input size, patch size and layers."""
    base = {"vit-b16": VIT_B_16, "tiny": TINY}[config.preset]
    vision = replace(
        base.vision,
        image_size=config.image_size,
        patch_size=config.patch_size,
        layers=config.layers or base.vision.layers,
    )
    return replace(base, vision=vision)
