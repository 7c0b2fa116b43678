"""CLIP: both towers and the temperature, with the parameter names of OpenAI's weight files."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl.config import EOT_ID, CLIPConfig
from clip_impl.layers import LAYER_NORM_EPS, LayerNorm, Transformer
from clip_impl.vision import VisionTransformer


class CLIP(nn.Module):
    """Contrastive language-image model; a fresh instance has OpenAI's random initial values.

    `load_state_dict(strict=True)` of an OpenAI state dict needs no renaming.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        self.visual = VisionTransformer(config.vision, config.embed_dim, config.activation)
        self.transformer = Transformer(text.width, text.layers, text.heads, config.activation)
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.ln_final = LayerNorm(text.width, eps=LAYER_NORM_EPS)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.initialize_parameters()

    def initialize_parameters(self) -> None:
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=self.config.text.width**-0.5)
        self.transformer.initialize_parameters()

    @property
    def context_length(self) -> int:
        return self.config.text.context_length

    @property
    def dtype(self) -> torch.dtype:
        return self.visual.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def encode_image(self, images: Tensor, *, normalize: bool = False) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> class-token features [B, E], of unit length with `normalize`."""
        features = self.visual(images)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, ids: Tensor, *, normalize: bool = False) -> Tensor:
        """Token ids [N, L] -> features [N, E], of unit length with `normalize`.

        The tower runs only on the longest real length: attention is causal, so what follows the last end-of-text token
        changes nothing.
        """
        eot_index = end_of_text_index(ids)
        if len(ids):
            ids = ids[:, : int(eot_index.max()) + 1]
        features = self.encode_text_embeddings(self.token_embedding(ids), eot_index)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        """Token embeddings [N, L, W] (without positions) -> features [N, E] read at `eot_index` [N].

        Learned prompts, which are embeddings without ids, enter here.

        Raises:
            ValueError: L is longer than the context.
        """
        length = embeddings.shape[1]
        if length > self.context_length:
            raise ValueError(f"{length} tokens are more than the context length {self.context_length}")
        x = embeddings.to(self.dtype) + self.positional_embedding[:length].to(self.dtype)
        x, _ = self.transformer(x, causal=True)
        # LayerNorm works row by row: only the rows that are read need it.
        x = x[torch.arange(x.shape[0], device=x.device), eot_index]
        return self.ln_final(x) @ self.text_projection

    def forward(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity logits per image [B, N] and per text [N, B]: exp(logit_scale) times cosine."""
        image_features = self.encode_image(images, normalize=True)
        text_features = self.encode_text(ids, normalize=True)
        logits = self.logit_scale.exp() * image_features @ text_features.mT
        return logits, logits.mT


def end_of_text_index(ids: Tensor) -> Tensor:
    """Position of the first end-of-text token in each row of ids [N, L]; the largest id where there is none."""
    is_end = ids == EOT_ID
    return torch.where(is_end.any(dim=-1), is_end.int().argmax(dim=-1), ids.argmax(dim=-1))
