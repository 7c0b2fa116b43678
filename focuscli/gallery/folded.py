"""The attribute-guided extraction without an attention module per crop.

With T a text's feature, t = T / |T|, and q_h = (W_q T + b_q)_h a head's query, the model's logits of tokens m_k are

    l_hk = (W_k,h m_k + b_k,h) . q_h / sqrt(D / H) = m_k . key_h + a constant that softmax does not see,
    key_h = W_k,h^T q_h / sqrt(D / H).

Attention a_hk = softmax_k(l_hk) sums to 1, so V = sum_hk a_hk W_o,h W_v,h m_k + b with b = W_o b_v + b_o, and

    V . t = sum_hk a_hk (m_k . value_h) + b . t,     value_h = W_v,h^T W_o,h^T t.

So one matrix product of the raw tokens [n * K, D] with 2 H columns a text gives attention and numerator of the cosine. Its
denominator |V| has no such short form: it needs the pooled tokens p_h = sum_k a_hk m_k through W_v and W_o, 5 times the
work of all the rest. `norm_bounds` encloses it by what `sketch` stored per crop, so that only crops that can still be
among the best pay for it; what is returned is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from focuscli.model.avfe import AttributeCrossAttention

ROWS = 128  # Crops whose tokens, as fp32, a core's second-level cache takes in (1.5 MiB each 64 of ViT-B/16).
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

    def columns(self) -> Tensor:
        """[D, 2 * Z * H]: keys of all texts, then values."""
        return torch.cat([self.keys, self.values]).flatten(0, 1).T.contiguous()


class FoldedAttention:
    """The weights of an AVFE module, ready to be folded with texts and to score raw tokens.

    Args:
        scale: exp(logit_scale), what a cosine is multiplied by. dtype: of the computation.
    """

    def __init__(self, avfe: AttributeCrossAttention, scale: float, *, dtype: torch.dtype = torch.float32) -> None:
        self.scale = scale
        self.heads = avfe.heads
        self._avfe = avfe
        width = avfe.out.weight.shape[0]
        share = width // avfe.heads
        weights = {name: part.double() for name, part in avfe.state_dict().items()}
        self._query, self._query_bias = weights["query.weight"], weights["query.bias"]
        self._key = weights["key.weight"].unflatten(0, (avfe.heads, share)) * share**-0.5  # [H, D / H, D]
        self._value = weights["value.weight"].unflatten(0, (avfe.heads, share))
        self._out = weights["out.weight"]
        bias = self._out @ weights["value.bias"] + weights["out.bias"]
        self._bias_double = bias
        self.value = self._value.mT.contiguous().to(dtype)  # [H, D, D / H]
        self.out = self._out.T.contiguous().to(dtype)
        self.bias = bias.to(dtype)
        self.block_root, self.least, self.most = _block_whitening(self._out, avfe.heads)
        self.bias_norm = float(bias.norm())

    def double(self) -> FoldedAttention:
        """The same in double precision."""
        return FoldedAttention(self._avfe, self.scale, dtype=torch.float64)

    def fold(self, text_features: Tensor) -> FoldedTexts:
        """Fold text features T [Z, D]."""
        dtype = self.out.dtype
        text = text_features.double()
        unit = F.normalize(text, dim=-1)
        query = (text @ self._query.T + self._query_bias).unflatten(-1, (self.heads, -1))  # [Z, H, D / H]
        through = (unit @ self._out).unflatten(-1, (self.heads, -1))  # W_o,h^T t
        keys = torch.einsum("zhs,hsd->zhd", query, self._key)
        values = torch.einsum("zhs,hsd->zhd", through, self._value)
        return FoldedTexts(keys.to(dtype), values.to(dtype), (unit @ self._bias_double).to(dtype), unit.to(dtype))

    def project(self, tokens: Tensor, columns: Tensor, buffer: Tensor | None = None) -> Tensor:
        """Raw tokens [n, K, D] (any type) times `columns` [D, C] -> [n, K, C].

        Conversion and product go through `buffer` [ROWS, K, D] so that the converted tokens never leave the cache.
        """
        count, tokens_each, width = tokens.shape
        if tokens.dtype == columns.dtype:
            return (tokens.reshape(-1, width) @ columns).unflatten(0, (count, tokens_each))
        if buffer is None:
            buffer = torch.empty(min(count, ROWS), tokens_each, width, dtype=columns.dtype, device=tokens.device)
        result = torch.empty(count * tokens_each, columns.shape[1], dtype=columns.dtype, device=tokens.device)
        step = max(1, len(buffer))
        for start in range(0, count, step):
            part = tokens[start : start + step]
            converted = buffer[: len(part)]
            converted.copy_(part)
            rows = slice(start * tokens_each, (start + len(part)) * tokens_each)
            torch.mm(converted.view(-1, width), columns, out=result[rows])
        return result.unflatten(0, (count, tokens_each))

    def attend(self, projected: Tensor, texts: FoldedTexts) -> tuple[Tensor, Tensor]:
        """Of `project` with `texts.columns()`: attention a [n, K, Z, H] and V . t [n, Z]."""
        logits, values = projected.unflatten(-1, (2, len(texts), self.heads)).unbind(dim=2)
        weights = (logits - logits.amax(dim=1, keepdim=True)).exp_()
        weights /= weights.sum(dim=1, keepdim=True)
        return weights, (weights * values).sum(dim=1).sum(dim=-1) + texts.constant

    def norm_bounds(self, weights: Tensor, norms: Tensor, floors: Tensor, unit: float) -> tuple[Tensor, Tensor]:
        """Enclose |V| [n, Z]: at least, at most.

        With z_h = sum_k a_hk z_hk the head's value in a basis where W_o,h is a rotation, and S = W_o^T W_o in that basis,
        least(S) sum_h |z_h|^2 <= |W_o z|^2 <= most(S) sum_h |z_h|^2. The norm of a head is at most sum_k a_hk |z_hk|^2
        (Jensen), and at least sum_k a_hk^2 |z_hk|^2 + a_hk (1 - a_hk) min_j (z_hk . z_hj). Where each head looks at one
        token these two are equal.

        Args:
            weights: a [n, K, Z, H]. norms, floors: |z_hk|^2 and min_j (z_hk . z_hj), [n, K, H], in units of `unit` and
                rounded to half precision.
        """
        square = norms[:, :, None].to(weights.dtype)  # [n, K, 1, H]
        lowest = floors[:, :, None].to(weights.dtype)
        lowest = lowest - ROUNDING * lowest.abs()
        least = (weights * ((1 - ROUNDING) * weights * square + (1 - weights) * lowest)).sum(dim=1)
        most = (1 + ROUNDING) * (weights * square).sum(dim=1)
        low = (unit * self.least * least.clamp(min=0).sum(dim=-1)).sqrt() - self.bias_norm
        high = (unit * self.most * most.sum(dim=-1)).sqrt() + self.bias_norm
        return low.clamp(min=0), high

    def score_bounds(self, numerator: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Enclose the scores [n, Z] from V . t and bounds of |V|."""
        near, far = (numerator / norm.clamp(min=1e-30) for norm in (high, low))
        upper = torch.where(numerator >= 0, far, near).clamp(max=1)
        lower = torch.where(numerator >= 0, near, far).clamp(min=-1)
        return self.scale * (lower - SLACK), self.scale * (upper + SLACK)

    def finish(self, tokens: Tensor, weights: Tensor, unit: Tensor) -> Tensor:
        """Scores [n] of one text from tokens [n, K, D], attention [n, H, K] and t [D]: pool, project, take the cosine."""
        scores = torch.empty(len(tokens), dtype=self.out.dtype, device=tokens.device)
        for start in range(0, len(tokens), ROWS):
            rows = slice(start, start + ROWS)
            pooled = torch.bmm(weights[rows], tokens[rows].to(self.out.dtype))  # [n, H, D]
            value = torch.bmm(pooled.transpose(0, 1), self.value)  # [H, n, D / H]
            features = value.transpose(0, 1).flatten(1) @ self.out + self.bias
            scores[rows] = F.normalize(features, dim=-1) @ unit
        return self.scale * scores

    def scores(self, tokens: Tensor, texts: FoldedTexts, columns: Tensor | None = None) -> Tensor:
        """Scores [n, Z] of tokens [n, K, D], no bounds used."""
        weights, _ = self.attend(self.project(tokens, texts.columns() if columns is None else columns), texts)
        by_text = [self.finish(tokens, weights[:, :, z].mT.contiguous(), texts.unit[z]) for z in range(len(texts))]
        return torch.stack(by_text, dim=1)


def _block_whitening(out: Tensor, heads: int) -> tuple[Tensor, float, float]:
    """R [H, D / H, D / H] with W_o,h^T W_o,h = R_h^T R_h, and the extreme eigenvalues of W_o^T W_o in the basis R_h z_h.

    A head whose W_o,h loses a direction keeps its own basis, which makes the lower bound 0 and nothing wrong.
    """
    gram = out.T @ out
    share = len(out) // heads
    blocks = gram.unflatten(0, (heads, share)).unflatten(-1, (heads, share))
    roots = []
    for head in range(heads):
        root, failed = torch.linalg.cholesky_ex(blocks[head, :, head])
        roots.append(torch.eye(share).to(root) if failed else root.mT)
    stacked = torch.stack(roots)
    inverse = torch.linalg.inv(torch.block_diag(*roots))
    values = torch.linalg.eigvalsh(inverse.mT @ gram @ inverse)
    return stacked, max(0.0, float(values[0])) * (1 - 1e-6), float(values[-1]) * (1 + 1e-6)
