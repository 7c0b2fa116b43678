"""Transformer layers of CLIP, with the parameter names of OpenAI's weight files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clip_impl.config import Activation

LAYER_NORM_EPS = 1e-5
QUICK_GELU_SLOPE = 1.702
"""Of OpenAI's activation x * sigmoid(1.702 x); other trainings of CLIP use the exact GELU."""


class LayerNorm(nn.LayerNorm):
    """LayerNorm that accepts an input of another dtype than its weights: computed in fp32, returned in the input's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        normed = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return normed.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of nn.MultiheadAttention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        output_tokens: slice | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Self-attention: [B, R, W] and, if asked for, the attention weights [B, heads, R, T]. R is T unless
        `output_tokens` chooses some.

        Args:
            x: [B, T, W].
            mask: boolean [T, T], True where the row may attend to the column. None: everywhere.
            causal: attend only to the token itself and earlier ones; not together with anything of the rest.
            output_tokens: the R tokens to compute. None: all.
            need_weights: also return the weights; slower, same output up to rounding.
        """
        width = x.shape[-1]
        if output_tokens is None:
            # [B, T, 3W] -> 3 x [B, heads, T, W / heads]
            query, key, value = self._split(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3)
        else:
            chosen = x[:, output_tokens]
            mask = None if mask is None else mask[output_tokens]
            (query,) = self._split(F.linear(chosen, self.in_proj_weight[:width], self.in_proj_bias[:width]), 1)
            key, value = self._split(F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]), 2)
        weights = None
        if need_weights:
            scores = query @ key.mT * query.shape[-1] ** -0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            weights = scores.softmax(dim=-1)
            attended = weights.to(value.dtype) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), weights

    def _split(self, projected: Tensor, parts: int) -> Tensor:
        """[B, T, parts * W] -> [parts, B, heads, T, W / heads]."""
        return projected.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)


class MLP(nn.Module):
    """The two linear layers of a block, with a hidden layer four times as wide."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.activation = activation
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.activation == "gelu":
            return self.c_proj(F.gelu(self.c_fc(x)))
        # x sigmoid(1.702 x) = silu(1.702 x) / 1.702. The matrix products apply the two factors at no cost, and silu is one
        # fused pass, where the formula as written takes three passes and two more tensors of the hidden size.
        flat, slope = x.flatten(0, -2), QUICK_GELU_SLOPE
        hidden = torch.addmm(self.c_fc.bias, flat, self.c_fc.weight.T, beta=slope, alpha=slope)
        hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())
        return torch.addmm(self.c_proj.bias, hidden, self.c_proj.weight.T, alpha=1 / slope).unflatten(0, x.shape[:-1])


class ResidualAttentionBlock(nn.Module):
    """Pre-norm block: x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, width: int, heads: int, activation: Activation) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = MLP(width, activation)
        self.ln_2 = LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        output_tokens: slice | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `Attention.forward`."""
        attended, weights = self.attn(self.ln_1(x), mask, causal, output_tokens, need_weights)
        x = (x if output_tokens is None else x[:, output_tokens]) + attended
        return x + self.mlp(self.ln_2(x)), weights


class Transformer(nn.Module):
    """A stack of blocks; `gradient_checkpointing` recomputes each block in the backward pass to save memory."""

    def __init__(self, width: int, layers: int, heads: int, activation: Activation) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.gradient_checkpointing = False
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads, activation) for _ in range(layers))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        output_tokens: slice | None = None,
        attention_layers: int = 0,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all blocks; `mask` and `causal` as `Attention.forward` has them.

        Args:
            x: [B, T, W].
            output_tokens: the R tokens to return; the last layer computes no others. None: all.

        Returns:
            [B, R, W], and the attention weights of the last `attention_layers` layers: [B, heads, T, T], for the very last
            one [B, heads, R, T].
        """
        collected: list[Tensor] = []
        for index, block in enumerate(self.resblocks):
            need_weights = index >= self.layers - attention_layers
            last = output_tokens if index == self.layers - 1 else None
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x, weights = checkpoint(block, x, mask, causal, last, need_weights, use_reentrant=False)
            else:
                x, weights = block(x, mask, causal, last, need_weights)
            if weights is not None:
                collected.append(weights)
        return x, collected

    def initialize_parameters(self) -> None:
        """OpenAI's initial values; the projections into the residual stream start smaller in deeper towers."""
        projection_std = self.width**-0.5 * (2 * self.layers) ** -0.5
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)
            nn.init.normal_(block.attn.in_proj_weight, std=self.width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=projection_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * self.width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=projection_std)
            for bias in (block.attn.in_proj_bias, block.attn.out_proj.bias, block.mlp.c_fc.bias, block.mlp.c_proj.bias):
                nn.init.zeros_(bias)
