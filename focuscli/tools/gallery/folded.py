"""The attribute-guided extraction without an attention module per crop.

With T a text's feature, t = T / |T|, and q_h = (W_q T + b_q)_h a head's query, the model's logits of tokens m_k are

    l_hk = (W_k,h m_k + b_k,h) . q_h / sqrt(D / H) = m_k . key_h + a constant that softmax does not see,
    key_h = W_k,h^T q_h / sqrt(D / H).

Attention a_hk = softmax_k(l_hk) sums to 1, so V = sum_hk a_hk W_o,h W_v,h m_k + b with b = W_o b_v + b_o, and

    V . t = sum_hk a_hk (m_k . value_h) + b . t,     value_h = W_v,h^T W_o,h^T t.

So one matrix product of the raw tokens with 2 H functions a text gives attention and numerator of the cosine. Its
denominator |V| has no such short form: it needs the pooled tokens p_h = sum_k a_hk m_k through W_v and W_o, 5 times the
work of all the rest. `least_norm` and `most_norm` enclose it by what `sketch` stored per crop, so that only crops that can
still be among the best pay for it; what is returned is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from focuscli.models.cross_attention import AttributeCrossAttention

ROWS = 128  # Crops at a time on a CPU: so many that products are efficient, so few that their tokens stay in the cache.
DEVICE_ROWS = 16_384  # The same elsewhere, where only the number of calls counts.
ROUNDING = 1e-3  # More than the relative error of a number stored in half precision (2**-11).
SLACK = 2e-5  # More than the error of the whole computation in single precision, in units of a cosine.


@dataclass(frozen=True)
class FoldedTexts:
    """Texts folded into the weights.

    Attributes:
        keys, values: [Z, H, D]; see above. constant: b . t [Z]. unit: t [Z, D].
    """

    keys: Tensor
    values: Tensor
    constant: Tensor
    unit: Tensor

    def __len__(self) -> int:
        return len(self.unit)

    def only(self, columns: Sequence[int]) -> FoldedTexts:
        """Some of the texts."""
        chosen = [*columns]
        return FoldedTexts(self.keys[chosen], self.values[chosen], self.constant[chosen], self.unit[chosen])

    def functions(self) -> Tensor:
        """[2 * Z * H, D]: keys of all texts, then values."""
        return torch.cat([self.keys, self.values]).flatten(0, 1)


class FoldedAttention:
    """The weights of an AVFE module, ready to be folded with texts and to score raw tokens.

    Args:
        scale: exp(logit_scale), what a cosine is multiplied by. dtype: of the computation.
    """

    def __init__(
        self,
        avfe: AttributeCrossAttention,
        scale: float,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.scale = scale
        self.heads = avfe.heads
        self._avfe = avfe
        target = avfe.out.weight.device if device is None else device
        weights = {name: part.detach().cpu().double() for name, part in avfe.state_dict().items()}
        share = len(weights["out.bias"]) // avfe.heads
        self._query, self._query_bias = weights["query.weight"], weights["query.bias"]
        self._key = weights["key.weight"].unflatten(0, (avfe.heads, share)) * share**-0.5  # [H, D / H, D]
        self._value = weights["value.weight"].unflatten(0, (avfe.heads, share))
        self._out = weights["out.weight"]
        self._bias = self._out @ weights["value.bias"] + weights["out.bias"]
        self.value = self._value.mT.contiguous().to(target, dtype)  # [H, D, D / H]
        self.out = self._out.T.contiguous().to(target, dtype)
        self.bias = self._bias.to(target, dtype)
        self._gram = (self.out @ self.out.T).unflatten(0, (avfe.heads, share))  # W_o^T W_o by heads [H, D / H, D]
        self._out_bias = (self.out @ self.bias).unflatten(0, (avfe.heads, share))  # [H, D / H]
        self.bias_square = float(self._bias.square().sum())
        self.rows = ROWS if target.type == "cpu" else DEVICE_ROWS

    def double(self) -> FoldedAttention:
        """The same in double precision, on the CPU: not every device has it."""
        return FoldedAttention(self._avfe, self.scale, dtype=torch.float64, device=torch.device("cpu"))

    def fold(self, text_features: Tensor) -> FoldedTexts:
        """Fold text features T [Z, D]; computed in double precision, whatever the result is in."""
        text = text_features.detach().cpu().double()
        unit = F.normalize(text, dim=-1)
        query = (text @ self._query.T + self._query_bias).unflatten(-1, (self.heads, -1))  # [Z, H, D / H]
        through = (unit @ self._out).unflatten(-1, (self.heads, -1))  # W_o,h^T t
        keys = torch.einsum("zhs,hsd->zhd", query, self._key)
        values = torch.einsum("zhs,hsd->zhd", through, self._value)
        return FoldedTexts(*(part.to(self.out) for part in (keys, values, unit @ self._bias, unit)))

    def project(self, tokens: Tensor, functions: Tensor) -> Tensor:
        """Raw tokens [n, K, D] (any type) against `functions` [F, D] -> [F, K, n].

        Conversion and product go through one small buffer, so that the converted tokens never leave the cache. Crops are
        the last dimension, so that what follows runs over long rows.
        """
        count, each, width = tokens.shape
        columns = functions.T.contiguous()
        result = functions.new_empty(len(functions), each, count)
        step = min(count, self.rows)
        buffer, product = functions.new_empty(step, each, width), functions.new_empty(step, each, len(functions))
        for start in range(0, count, step):
            part = tokens[start : start + step]
            converted, answers = buffer[: len(part)], product[: len(part)]
            converted.copy_(part)
            torch.mm(converted.view(-1, width), columns, out=answers.view(-1, len(functions)))
            result[:, :, start : start + len(part)].copy_(answers.permute(2, 1, 0))
        return result

    def attend(self, projected: Tensor, texts: FoldedTexts) -> tuple[Tensor, Tensor]:
        """Of `project` with `texts.functions()`, which it overwrites: attention a [Z, H, K, n] and V . t [Z, n]."""
        logits, values = projected.unflatten(0, (2, len(texts), self.heads)).unbind()
        weights = logits.sub_(logits.amax(dim=2, keepdim=True)).exp_()
        weights /= weights.sum(dim=2, keepdim=True)
        return weights, values.mul_(weights).sum(dim=2).sum(dim=1) + texts.constant[:, None]

    def linearize(self, tokens: Tensor, texts: FoldedTexts) -> tuple[Tensor, Tensor]:
        """Scores [Z] of one crop's tokens [K, D], and their derivatives by these tokens [Z, K, D]."""
        weights = torch.einsum("kd,zhd->zhk", tokens, texts.keys).softmax(dim=-1)
        pooled = torch.einsum("zhk,kd->zhd", weights, tokens)
        feature = torch.einsum("zhd,hds->zhs", pooled, self.value).flatten(1) @ self.out + self.bias
        norm = torch.linalg.vector_norm(feature, dim=1, keepdim=True).clamp_(min=1e-12)
        cosine = (feature * texts.unit).sum(dim=1, keepdim=True) / norm
        toward = (texts.unit - cosine * feature / norm) / norm  # of the cosine by the feature
        through = (toward @ self.out.T).unflatten(1, (self.heads, -1))
        functions = torch.einsum("zhs,hds->zhd", through, self.value)
        gained = torch.einsum("kd,zhd->zhk", tokens, functions)
        moved = weights * (gained - (weights * gained).sum(dim=-1, keepdim=True))
        by_tokens = torch.einsum("zhk,zhd->zkd", weights, functions) + torch.einsum("zhk,zhd->zkd", moved, texts.keys)
        return self.scale * cosine[:, 0], self.scale * by_tokens

    def token_products(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What tokens [n, K, D] add to V where a head looks at them, w_hk = W_o,h W_v,h m_k, against each other: all
        w_hk . w_gj [n, H, K, H, K]; and against the bias: b . w_hk [n, H, K]."""
        heads = self.heads
        values = torch.einsum("nkd,hds->nhks", tokens.to(self.value.dtype), self.value)
        through = torch.einsum("nhks,hsd->nhkd", values, self._gram).unflatten(-1, (heads, -1))
        products = torch.einsum("nhkgs,ngjs->nhkgj", through, values)
        return products, torch.einsum("nhks,hs->nhk", values, self._out_bias)

    def least_norm(self, weights: Tensor, floors: Tensor, unit: float) -> Tensor:
        """A lower bound of |V| [Z, n]. Where each head looks at one token, only what heads say of each other is left open.

        Args:
            weights: a [Z, H, K, n]. floors: [n, 3, K, H] of the sketch (its formulas are there), in units of `unit`.
        """
        square, linear = (part - ROUNDING * part.abs() for part in crops_last(floors[:, :2], weights.dtype).unbind())
        least = (square * weights).add_(linear).mul_(weights)
        return least.sum(dim=2).sum(dim=1).mul_(unit).add_(self.bias_square).clamp_(min=0).sqrt_()

    def most_norm(self, weights: Tensor, floors: Tensor, unit: float) -> Tensor:
        """An upper bound of |V| [Z, n]; arguments as above."""
        highest = crops_last(floors[:, 2], weights.dtype)
        most = (highest + ROUNDING * highest.abs()) * weights
        return most.sum(dim=2).sum(dim=1).mul_(unit).add_(self.bias_square).clamp_(min=0).sqrt_()

    def score_bounds(self, numerator: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Enclose the scores [Z, n] from V . t and bounds of |V|."""
        near, far = (numerator / norm.clamp(min=1e-30) for norm in (high, low))
        upper = torch.where(numerator >= 0, far, near).clamp(max=1)
        lower = torch.where(numerator >= 0, near, far).clamp(min=-1)
        return self.scale * (lower - SLACK), self.scale * (upper + SLACK)

    def finish(self, tokens: Tensor, rows: Tensor, weights: Tensor, unit: Tensor) -> Tensor:
        """Scores [n] of one text for some rows of tokens [N, K, D]: pool, project, take the cosine.

        All large intermediate results go into buffers that are used again and again: fresh memory costs as much as the
        arithmetic.

        Args:
            rows: [n]. weights: a [H, K, N] of all rows. unit: t [D].
        """
        looked = weights[:, :, rows].permute(2, 0, 1).contiguous()  # [n, H, K]
        (_, each, width), heads = tokens.shape, self.heads
        step = min(len(rows), self.rows)
        raw = tokens.new_empty(step, each, width)
        converted, pooled = self.out.new_empty(step, each, width), self.out.new_empty(step, heads, width)
        value, features = self.out.new_empty(heads, step, width // heads), self.out.new_empty(step, width)
        scores = self.out.new_empty(len(rows))
        for start in range(0, len(rows), self.rows):
            chosen = rows[start : start + self.rows]
            n = len(chosen)
            torch.index_select(tokens, 0, chosen, out=raw[:n])
            converted[:n].copy_(raw[:n])
            torch.bmm(looked[start : start + n], converted[:n], out=pooled[:n])
            part = value if n == step else self.out.new_empty(heads, n, width // heads)
            torch.bmm(pooled[:n].transpose(0, 1), self.value, out=part)
            torch.addmm(self.bias, part.transpose(0, 1).flatten(1), self.out, out=features[:n])
            norm = torch.linalg.vector_norm(features[:n], dim=1).clamp_(min=1e-12)
            scores[start : start + n] = (features[:n] @ unit) / norm
        return self.scale * scores

    def scores(self, tokens: Tensor, texts: FoldedTexts) -> Tensor:
        """Scores [n, Z] of tokens [n, K, D], no bounds used."""
        weights, _ = self.attend(self.project(tokens, texts.functions()), texts)
        rows = torch.arange(len(tokens), device=tokens.device)
        return torch.stack([self.finish(tokens, rows, weights[z], texts.unit[z]) for z in range(len(texts))], dim=1)


def crops_last(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers of crops [n, ..., K, H] as [..., H, K, n]."""
    return stored.movedim(0, -1).transpose(-3, -2).to(dtype).contiguous()
