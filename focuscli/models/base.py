"""The interface of a method: what training, evaluation and attention maps need from a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.config import ModelConfig
from focuscli.data.texts import Text
from focuscli.errors import UsageError
from focuscli.models.criterion import Criterion
from focuscli.models.outputs import ImageFeatures, MethodOutput


class Method(nn.Module, ABC):
    """From images and texts to scores. Texts are the training texts, or any others where the method supports them.

    Attributes:
        texts: the texts seen in training: attributes, then complements.
        criterion: the class of the losses that the method trains with.
    """

    criterion: ClassVar[type[Criterion]]
    training_ids: Tensor
    """Token ids [Z, L] of the training texts' sentences."""

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__()
        self.config = config
        self.clip = clip
        self.texts = tuple(texts)

    @property
    @abstractmethod
    def token_names(self) -> list[str]:
        """Names of the K tokens, for attention maps."""

    @abstractmethod
    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> features, with attention over patches where `attention_layers` is not 0."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """One row per text, for `score`; without an argument the training texts. What a row holds depends on the method.

        Raises:
            UsageError: a text is empty or too long, or unseen where the method does not support unseen texts.
        """

    @abstractmethod
    def score(self, tokens: Tensor, text_features: Tensor) -> MethodOutput:
        """Tokens [B, K, D] of images against rows of `encode_texts` [Z, ...]."""

    def forward(self, images: Tensor) -> tuple[ImageFeatures, MethodOutput]:
        """Normalised pixels [B, 3, H, W] against all training texts: what a training step needs."""
        features = self.encode_image(images)
        return features, self.score(features.tokens, self.encode_texts())

    def prompt_source(self, text: Text) -> str:
        """Which learned prompt vectors a text is encoded with, in words."""
        return "no learned prompts"

    def freeze(self, *, text_tower: bool) -> None:
        """Freeze what does not train: always the temperature and the token embedding; with `text_tower` the whole text
        side of CLIP (gradients still flow through it into learned prompts).

        Without pretrained weights the tower trains on random token vectors: they already tell the words apart, and
        updating 49,408 rows for the few dozen words of a schema would be most of a small model's optimiser step.
        """
        self.clip.logit_scale.requires_grad_(False)
        self.clip.token_embedding.requires_grad_(False)
        for name, parameter in self.clip.named_parameters():
            if text_tower and not name.startswith("visual."):
                parameter.requires_grad_(False)
        for parameter in self.parameters():
            if not parameter.numel():  # the prompts with RLP off; DistributedDataParallel waits for all that train
                parameter.requires_grad_(False)

    def checkpoint_gradients(self, enabled: bool = True) -> None:
        """Recompute the layers of both towers in the backward pass instead of keeping their activations."""
        self.clip.visual.transformer.gradient_checkpointing = enabled
        self.clip.transformer.gradient_checkpointing = enabled

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""
        patch = self.clip.visual.config.patch_size
        return images.shape[-2] // patch, images.shape[-1] // patch


def mean_patch_attention(attention: Sequence[Tensor], readers: slice, grid: tuple[int, int]) -> Tensor:
    """Attention weights [B, heads, T, T] of some layers -> [B, K, rows, columns] of the `readers` over the patches, which
    are the last tokens; mean over heads and layers."""
    patches = grid[0] * grid[1]
    weights = [layer[:, :, readers, -patches:].mean(dim=1) for layer in attention]
    return torch.stack(weights).mean(dim=0).unflatten(-1, grid)


def refuse_unseen(method: str, texts: Sequence[Text], seen: Sequence[Text]) -> None:
    """Refuse unseen texts, for methods with one classifier per attribute.

    Raises:
        UsageError: a text was not trained.
    """
    known = set(seen)
    for text in texts:
        if text not in known:
            raise UsageError(
                f'Method {method} has one classifier per trained attribute; it cannot score "{text.phrase}".',
                "Use attributes that it was trained on, or train --method focus.",
            )
