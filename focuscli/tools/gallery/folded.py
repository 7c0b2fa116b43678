"""Scores of stored tokens against texts, without running the cross-attention module on every crop.

With T a text's feature, t = T / |T|, and q_h = (W_q T + b_q)_h the query of head h, the attention logits of tokens m_k are

    l_hk = (W_k,h m_k + b_k,h) . q_h / sqrt(D / H) = m_k . key_h + a constant to which softmax is invariant,
    key_h = W_k,h^T q_h / sqrt(D / H).

The weights a_hk = softmax_k(l_hk) sum to 1, so the values can be projected after pooling, once per head instead of once
per token:

    V = sum_h W_o,h W_v,h (sum_k a_hk m_k) + b,     b = W_o b_v + b_o,     score = exp(logit_scale) * V . t / |V|.

A crop of 12 tokens takes a tenth of the arithmetic of Eq. 5 as written, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from focuscli.models.base import Method
from focuscli.models.cross_attention import AttributeCrossAttention

ScoreTokens = Callable[[Tensor], Tensor]  # tokens [n, K, D] of any floating type -> scores [n, Z] in single precision


def fold_attention(attention: AttributeCrossAttention, text_features: Tensor, scale: float) -> ScoreTokens:
    """A trained cross-attention module with text features T [Z, D] folded into its key projection; scale: exp(logit_scale)."""
    heads, device = attention.heads, attention.out.weight.device
    weights = {name: part.detach().cpu().double() for name, part in attention.state_dict().items()}
    text = text_features.detach().cpu().double()
    query = (text @ weights["query.weight"].T + weights["query.bias"]).unflatten(-1, (heads, -1))
    key = weights["key.weight"].unflatten(0, (heads, -1))  # [H, D / H, D]
    parts = (
        torch.einsum("zhs,hsd->zhd", query, key).flatten(0, 1) * key.shape[1] ** -0.5,
        weights["value.weight"].unflatten(0, (heads, -1)).mT,
        weights["out.weight"].T,
        weights["out.weight"] @ weights["value.bias"] + weights["out.bias"],
        F.normalize(text, dim=-1),
    )
    # keys [Z * H, D], value [H, D, D / H], out [D, D], bias [D], unit [Z, D]
    keys, value, out, bias, unit = (part.to(device, torch.float32).contiguous() for part in parts)

    def score(tokens: Tensor) -> Tensor:
        tokens = tokens.float()
        count, _, width = tokens.shape
        logits = tokens.flatten(0, 1) @ keys.T
        attended = logits.unflatten(0, tokens.shape[:2]).softmax(dim=1).mT  # [n, Z * H, K]
        pooled = torch.bmm(attended, tokens).view(-1, heads, width)  # [n * Z, H, D]
        values = torch.bmm(pooled.transpose(0, 1), value)  # [H, n * Z, D / H]
        features = torch.addmm(bias, values.transpose(0, 1).reshape(-1, width), out)
        return scale * F.cosine_similarity(features.view(count, -1, width), unit, dim=-1, eps=1e-12)

    return score


def token_scorer(model: Method, text_features: Tensor) -> ScoreTokens:
    """What scores stored tokens against rows of `Method.encode_texts`: folded if the model has a cross-attention module,
    else the model's own `score`."""
    attention = getattr(model, "avfe", None)
    if attention is not None:
        return fold_attention(attention, text_features, float(model.clip.logit_scale.exp()))
    features = text_features.float().clone()  # not an inference tensor: `linearise` differentiates
    return lambda tokens: model.score(tokens.float(), features).scores.float()
