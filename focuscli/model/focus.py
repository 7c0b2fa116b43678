"""FOCUS assembled: CLIP, Mix Tokens, prompts and attribute-guided extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl import CLIP, TINY, VIT_B_16, CLIPConfig
from focuscli.config import ModelConfig
from focuscli.data.schema import Text
from focuscli.model.avfe import AttributeCrossAttention
from focuscli.model.mix_tokens import MixTokens
from focuscli.model.prompts import PromptLearner, encode_texts, text_ids


@dataclass(frozen=True)
class ImageFeatures:
    """The image side of FOCUS.

    Attributes:
        mix: M_out [B, K, D]: projected Mix Tokens; the class token alone (K = 1) with MGMT off.
        patch_attention: A [B, K, rows, columns], attention of each token over patches, mean over heads and over the
            last layers asked for; None if none was asked for. A local token is 0 outside its subset.
    """

    mix: Tensor
    patch_attention: Tensor | None = None


@dataclass(frozen=True)
class FocusOutput:
    """Scores and what they come from.

    Attributes:
        scores: [B, Z], exp(logit_scale) * cos(V_z, T_z).
        attribute_features: V [B, Z, D].
        attention_maps: G [B, Z, K], rows sum to 1; uniform with AVFE off.
    """

    scores: Tensor
    attribute_features: Tensor
    attention_maps: Tensor


class FocusModel(nn.Module):
    """Images and texts to scores; see the paper's Fig. 2.

    Parameter names are the contract of the checkpoints: `clip.*` (OpenAI's names), `mix_tokens.tokens`,
    `prompts.context`, `avfe.{query,key,value,out}.*`.
    """

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__()
        self.config = config
        self.clip = clip
        vision = clip.visual
        self.mix_tokens: MixTokens | None = None
        if config.mgmt:
            self.mix_tokens = MixTokens(
                clip.config.vision.width,
                num_global=config.global_tokens,
                num_local=config.local_tokens,
                partitions=config.partitions,
                start=vision.class_embedding + vision.positional_embedding[0],
                noise=config.mix_init_noise,
            )
        self.prompts = PromptLearner(texts, clip.config.text.width, length=config.prompt_length, enabled=config.rlp)
        self.avfe: AttributeCrossAttention | None = None
        if config.avfe:
            self.avfe = AttributeCrossAttention(clip.config.embed_dim, config.attention_heads, config.avfe_init)
        self._training_ids = text_ids(self.prompts, self.prompts.texts, clip.context_length)

    @property
    def texts(self) -> tuple[Text, ...]:
        """The texts seen in training: attributes, then complements."""
        return self.prompts.texts

    def freeze(self, *, text_tower: bool) -> None:
        """Fix what does not train: the temperature and the token embedding always; with `text_tower` all of the text side
        but the context vectors (gradients still flow through it into them).

        Without pretrained weights the tower trains on random token vectors: they tell the words apart as they are, and
        updating 49,408 rows for the few dozen words of a schema would be most of a small model's optimiser step.
        """
        self.clip.logit_scale.requires_grad_(False)
        self.clip.token_embedding.requires_grad_(False)
        for name, parameter in self.clip.named_parameters():
            if text_tower and not name.startswith("visual."):
                parameter.requires_grad_(False)

    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> Mix Token features, and their attention over patches if asked for."""
        vision = self.clip.visual
        patch = vision.config.patch_size
        patches = (images.shape[-2] // patch) * (images.shape[-1] // patch)
        prefix = mask = None
        if self.mix_tokens is not None:
            prefix = self.mix_tokens.tokens
            mask = self.mix_tokens.attention_mask(patches, images.device)
        tokens = vision.forward_tokens(images, prefix, mask, attention_layers=attention_layers)
        mixed = tokens.class_token[:, None] if prefix is None else tokens.prefix
        attention = None
        if tokens.attention:
            readers = slice(0, mixed.shape[1])
            weights = torch.stack([layer[:, :, readers, -patches:].mean(dim=1) for layer in tokens.attention])
            attention = weights.mean(dim=0).unflatten(-1, tokens.grid)
        return ImageFeatures(vision.project(mixed), attention)

    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """Text features T [Z, D]; without an argument those of the training texts."""
        if texts is None:
            return encode_texts(self.clip, self.prompts, self.texts, self._training_ids)
        return encode_texts(self.clip, self.prompts, texts)

    def score(self, mix: Tensor, text_features: Tensor) -> FocusOutput:
        """Scores of M_out [B, K, D] against T [Z, D]: exp(logit_scale) * cos(V_z, T_z)."""
        if self.avfe is None:
            batch, count, _ = mix.shape
            features = mix.mean(dim=1, keepdim=True).expand(-1, len(text_features), -1)
            maps = mix.new_full((batch, len(text_features), count), 1 / count)
        else:
            features, maps = self.avfe(text_features, mix)
        cosine = (F.normalize(features.float(), dim=-1) * F.normalize(text_features.float(), dim=-1)).sum(dim=-1)
        return FocusOutput(self.clip.logit_scale.exp() * cosine, features, maps)

    def forward(self, images: Tensor) -> tuple[ImageFeatures, FocusOutput]:
        """One training step's view: images [B, 3, H, W] against all training texts."""
        features = self.encode_image(images)
        return features, self.score(features.mix, self.encode_texts())


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
