"""Transformer layers of CLIP, with the parameter names of OpenAI's weight files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clip_impl.config import Activation

LAYER_NORM_EPS = 1e-5


QUICK_GELU_SLOPE = 1.702
"""Of the activation of OpenAI's models, x * sigmoid(1.702 x); other trainings of CLIP use the exact GELU."""


class LayerNorm(nn.LayerNorm):
    """LayerNorm that also takes an input of another dtype than its weights: computed in fp32, returned in the input's."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        normed = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return normed.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over `in_proj_weight`, `in_proj_bias` and `out_proj`, as nn.MultiheadAttention names them."""

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
        *,
        causal: bool = False,
        readers: int = 0,
        rows: slice | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: [B, T, W].
            mask: boolean [T, T], True where the row may attend to the column; None for everywhere.
            causal: only to itself and earlier positions (not together with a mask).
            readers: so many leading tokens only read: nobody attends to them, they attend to the others where `mask`,
                then [readers, T - readers], is True, and the others to each other everywhere.
            rows: the tokens whose output is wanted, R of them; with `readers` some or all of these. None: all tokens.
            need_weights: also return the attention weights [B, heads, R, T]; slower, same output to rounding.
        """
        width = x.shape[-1]
        if rows is None:
            # [B, T, 3W] -> 3 x [B, heads, T, W / heads]
            query, key, value = self._split(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3)
        else:
            (query,) = self._split(F.linear(x[:, rows], self.in_proj_weight[:width], self.in_proj_bias[:width]), 1)
            key, value = self._split(F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]), 2)
        weights = None
        if need_weights:
            attended, weights = _explicit_attention(
                query, key, value, _whole_mask(x.shape[1], mask, causal, readers), rows
            )
        elif readers:
            attended = _reader_attention(query, key, value, mask, readers, rows)
        else:
            mask = mask if mask is None or rows is None else mask[rows]
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), weights

    def _split(self, projected: Tensor, parts: int) -> Tensor:
        """[B, T, parts * W] -> [parts, B, heads, T, W / heads]."""
        return projected.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)


def _reader_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, readers: int, rows: slice | None
) -> Tensor:
    """Readers and the others in two calls, so that the many others need no mask (and fused kernels that take none run)."""
    key, value = key[:, :, readers:], value[:, :, readers:]
    if rows is not None:
        mask = mask if mask is None else mask[rows]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    reading = F.scaled_dot_product_attention(query[:, :, :readers], key, value, attn_mask=mask)
    others = F.scaled_dot_product_attention(query[:, :, readers:], key, value)
    # Joined as [B, T, heads, W / heads], the order in memory that the caller wants.
    return torch.cat([reading.transpose(1, 2), others.transpose(1, 2)], dim=1).transpose(1, 2)


def _whole_mask(length: int, mask: Tensor | None, causal: bool, readers: int) -> Tensor | None:
    """The mask [T, T] behind `Attention.forward`'s three ways to say it; None for everywhere."""
    if causal:
        return torch.ones(length, length, dtype=torch.bool).tril()
    if not readers:
        return mask
    whole = torch.zeros(length, length, dtype=torch.bool)
    whole[:, readers:] = True
    if mask is not None:
        whole[:readers, readers:] = mask
    return whole


def _explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rows: slice | None
) -> tuple[Tensor, Tensor]:
    """The attention with its weights [B, heads, R, T] written out."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~(mask if rows is None else mask[rows]).to(scores.device), -torch.inf)
    weights = scores.softmax(dim=-1)
    return weights.to(value.dtype) @ value, weights


class MLP(nn.Module):
    """The two linear layers of a block, four times as wide inside."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.activation = activation
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.activation == "gelu":
            return self.c_proj(F.gelu(self.c_fc(x)))
        # x sigmoid(1.702 x) = silu(1.702 x) / 1.702. The two factors ride along in the matrix products for nothing, and
        # silu is one fused pass where the formula as written takes three and two more tensors of the hidden size.
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
        readers: int = 0,
        rows: slice | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `Attention.forward`; [B, R, W] where only some `rows` are wanted."""
        attended, weights = self.attn(
            self.ln_1(x), mask, causal=causal, readers=readers, rows=rows, need_weights=need_weights
        )
        x = (x if rows is None else x[:, rows]) + attended
        return x + self.mlp(self.ln_2(x)), weights


class Transformer(nn.Module):
    """A stack of blocks; set `gradient_checkpointing` to recompute each block in the backward pass and save memory."""

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
        readers: int = 0,
        rows: slice | None = None,
        attention_layers: int = 0,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all blocks; `mask`, `causal` and `readers` as `Attention.forward` has them.

        Args:
            x: [B, T, W].
            rows: the tokens that the caller reads, R of them: the last layer computes no others. None: all.

        Returns:
            [B, R, W], and the attention weights of the last `attention_layers` layers: [B, heads, T, T], of the very last
            one [B, heads, R, T].
        """
        collected: list[Tensor] = []
        for index, block in enumerate(self.resblocks):
            need_weights = index >= self.layers - attention_layers
            last = rows if index == self.layers - 1 else None
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x, weights = checkpoint(block, x, mask, causal, readers, last, need_weights, use_reentrant=False)
            else:
                x, weights = block(x, mask, causal, readers, last, need_weights)
            if weights is not None:
                collected.append(weights)
        return x, collected

    def initialize_parameters(self) -> None:
        """OpenAI's initial values: residual projections shrink with depth."""
        projection_std = self.width**-0.5 * (2 * self.layers) ** -0.5
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)
            nn.init.normal_(block.attn.in_proj_weight, std=self.width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=projection_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * self.width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=projection_std)
            for bias in (block.attn.in_proj_bias, block.attn.out_proj.bias, block.mlp.c_fc.bias, block.mlp.c_proj.bias):
                nn.init.zeros_(bias)
