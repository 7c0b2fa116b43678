"""Attribute-guided Visual Feature Extraction: text queries, Mix Token keys and values (Eq. 5)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class AttributeCrossAttention(nn.Module):
    """Multi-head cross-attention with text features as queries and Mix Tokens as keys and values.

    Identity initialisation of all four projections [choice] keeps the attribute features of an untrained module in the
    joint space of CLIP, so that unseen texts are meaningful from the first step.
    """

    def __init__(self, width: int, heads: int, init: Literal["identity", "random"] = "identity") -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for projection in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(projection.bias)
            if init == "identity":
                nn.init.eye_(projection.weight)
            else:
                nn.init.xavier_uniform_(projection.weight)

    def forward(self, text_features: Tensor, mix_features: Tensor) -> tuple[Tensor, Tensor]:
        """Extract one feature per image and text.

        Args:
            text_features: T [Z, D].
            mix_features: M_out [B, K, D].

        Returns:
            Attribute features V [B, Z, D], and attention maps G [B, Z, K]: mean over heads, rows sum to 1.
        """
        batch, _count, width = mix_features.shape
        query = self._split(self.query(text_features))  # [heads, Z, D / heads]
        key = self._split(self.key(mix_features))  # [B, heads, K, D / heads]
        value = self._split(self.value(mix_features))
        scale = (width // self.heads) ** -0.5
        weights = (query @ key.mT * scale).float().softmax(dim=-1)  # [B, heads, Z, K]
        pooled = weights.to(value.dtype) @ value  # [B, heads, Z, D / heads]
        features = self.out(pooled.transpose(-3, -2).reshape(batch, -1, width))
        return features, weights.mean(dim=1)

    def _split(self, x: Tensor) -> Tensor:
        """[..., L, D] -> [..., heads, L, D / heads]."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(-3, -2)
