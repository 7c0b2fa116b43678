"""The interface of a method: what training, evaluation and attention maps need from a model and its losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.config import LossConfig, ModelConfig
from focuscli.data.texts import Text


@dataclass(frozen=True)
class ImageFeatures:
    """The image side of a method.

    Attributes:
        tokens: [B, K, D], the K tokens that texts are compared with (FOCUS: M_out; the class token alone with MGMT off).
        patch_attention: A [B, K, rows, columns], attention of each token over patches, averaged over heads and over the
            requested number of last layers; None if it was not requested. 0 where the mask hides a patch from a token.
    """

    tokens: Tensor
    patch_attention: Tensor | None = None


@dataclass(frozen=True)
class MethodOutput:
    """Scores and what they are computed from.

    Attributes:
        scores: [B, Z]; FOCUS: exp(logit_scale) * cos(V_z, T_z).
        attribute_features: V [B, Z, D].
        attention_maps: G [B, Z, K], how much each text attends to each token; rows sum to 1.
        tokens: [B, K, D], those of `ImageFeatures`.
    """

    scores: Tensor
    attribute_features: Tensor
    attention_maps: Tensor
    tokens: Tensor


class Criterion(nn.Module, ABC):
    """The losses of a method. What they need to know of the training set are buffers; there are no parameters.

    Attributes:
        names: of the losses that `forward` returns, without "loss".
        inputs: the fields of `MethodOutput` that `forward` reads. With several processes only these hold the rows of all of
            them.
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
    def forward(self, output: MethodOutput, targets: Tensor, known: Tensor, progress: float) -> dict[str, Tensor]:
        """The losses by name, and their weighted sum as "loss". Call it outside of mixed precision.

        Args:
            output: what the model returns for the batch.
            targets, known: [B, Z]; known is False where a label is uncertain.
            progress: the completed share of the run, 0 to 1.
        """


class Method(nn.Module, ABC):
    """From images and texts to scores. Texts are the training texts, or any others where the method supports them.

    Attributes:
        texts: the texts seen in training: attributes, then complements.
        criterion: the class of the losses that the method trains with.
        token_names: of the K tokens, for attention maps; none where these are the patches themselves.
    """

    criterion: ClassVar[type[Criterion]]
    token_names: Sequence[str] = ()

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__()
        self.config = config
        self.clip = clip
        self.texts = tuple(texts)

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

    def forward(self, images: Tensor) -> MethodOutput:
        """Normalised pixels [B, 3, H, W] against all training texts: what a training step needs."""
        return self.score(self.encode_image(images).tokens, self.encode_texts())

    def prompt_source(self, text: Text) -> str:
        """Which learned prompt vectors a text is encoded with, in words."""
        return "no learned prompts"

    def freeze(self, *, text_tower: bool) -> None:
        """Freeze what does not train: always the temperature and the token embedding; with `text_tower` the whole text
        side of CLIP (gradients still flow through it into learned prompts).

        Without pretrained weights the tower trains on random token vectors: they already tell the words apart, and
        updating 49,408 rows for the few dozen words of a schema would be most of a small model's optimiser step.
        """
        for name, parameter in self.clip.named_parameters():
            fixed = name == "logit_scale" or name.startswith("token_embedding.")
            if fixed or (text_tower and not name.startswith("visual.")):
                parameter.requires_grad_(False)
        for parameter in self.parameters():
            if not parameter.numel():  # the prompts with RLP off; DistributedDataParallel waits for all that train
                parameter.requires_grad_(False)

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Recompute the layers of both towers in the backward pass instead of keeping their activations."""
        self.clip.visual.transformer.gradient_checkpointing = enabled
        self.clip.transformer.gradient_checkpointing = enabled

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""
        patch = self.clip.visual.config.patch_size
        return images.shape[-2] // patch, images.shape[-1] // patch


def mean_patch_attention(attention: Sequence[Tensor], readers: int, grid: tuple[int, int]) -> Tensor | None:
    """Attention weights [B, heads, T, T] of some layers -> [B, K, rows, columns] of the first `readers` tokens over the
    patches, which are the last ones; mean over heads and layers. None without a layer."""
    if not attention:
        return None
    weights = [layer[:, :, :readers, -grid[0] * grid[1] :].mean(dim=1) for layer in attention]
    return torch.stack(weights).mean(dim=0).unflatten(-1, grid)
