"""The losses of FOCUS (Eq. 4, 7, 8), POAR and VTB as pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-4


def many_to_many_loss(logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """Many-to-many contrastive loss over the rows of `logits` (POAR's form; L_v2t, and L_t2v on the transpose; Eq. 8).

    For one row with scores s, positives P and negatives N the loss is the mean over p in P of
    -log(exp(s_p) / (exp(s_p) + sum over n in N of exp(s_n))): the other positives are not in the denominator.
    Rows without a positive do not count; a row without a negative gives 0.

    Args:
        logits: [..., R, C] scores.
        targets: the same shape, positive where above 0.5.
        known: the same shape, bool; False excludes an entry: it is neither positive nor negative. None: all are known.

    Returns:
        [...], the mean over the rows that count; 0 (with a gradient of 0) where none does.

    Raises:
        ValueError: the shapes differ or have fewer than two dimensions.
    """
    if logits.dim() < 2 or logits.shape != targets.shape or (known is not None and known.shape != logits.shape):
        raise ValueError(
            f"expected logits and targets of one shape [..., R, C]; got {[*logits.shape]} and {[*targets.shape]}"
        )
    logits = logits.float()
    positive = targets > 0.5
    negative = ~positive
    if known is not None:
        positive, negative = positive & known, negative & known
    # Rows without a negative get -inf here, and softplus(-inf) = 0, as intended. The finite floor keeps the gradient of
    # logsumexp defined for them (it is NaN where all inputs are -inf).
    floor = torch.finfo(logits.dtype).min
    negatives = torch.logsumexp(logits.masked_fill(~negative, floor), dim=-1, keepdim=True)
    losses = F.softplus(negatives - logits).where(positive & negative.any(dim=-1, keepdim=True), 0.0)
    positives = positive.sum(dim=-1)
    rows = losses.sum(dim=-1) / positives.clamp(min=1)
    return rows.sum(dim=-1) / (positives > 0).sum(dim=-1).clamp(min=1)


def grouped_many_to_many_loss(
    logits: Tensor, targets: Tensor, groups: Tensor, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """L_v2t and L_t2v: the many-to-many loss within each group of texts, averaged over the groups.

    A group counts when at least one of its entries is a positive. For L_t2v the rows are single texts, so that the groups
    only weight the mean.

    Args:
        logits: [B, Z] scores of images against texts.
        targets, known: the same shape, see `many_to_many_loss`.
        groups: [Z, Q] bool, membership of text z in group q.

    Returns:
        Two scalars.
    """
    in_group = groups.T[:, None, :]  # [Q, 1, Z]
    known = (in_group if known is None else known & in_group).expand(-1, len(logits), -1)  # [Q, B, Z]
    logits, targets = logits.expand_as(known), targets.expand_as(known)
    counts = ((targets > 0.5) & known).flatten(1).any(dim=1)  # [Q]
    count = counts.sum().clamp(min=1)
    v2t = many_to_many_loss(logits, targets, known)
    t2v = many_to_many_loss(logits.mT, targets.mT, known.mT)
    return v2t.sum() / count, t2v.sum() / count  # a group that does not count adds 0


def mix_diversity_loss(mix_features: Tensor, *, eps: float = EPSILON) -> Tensor:
    """L_sim: binary cross-entropy between the cosine similarity of the Mix Tokens and the identity matrix (Eq. 4).

    The paper does not say how a cosine reaches (0, 1); here it is clamped to [eps, 1 - eps].

    Args:
        mix_features: M_out [B, K, D], or one image's [K, D].

    Returns:
        A scalar, the mean over K^2 pairs and the batch.
    """
    identity = torch.eye(mix_features.shape[-2], device=mix_features.device)
    return _similarity_cross_entropy(mix_features, identity, eps)


def region_contrastive_loss(attention_maps: Tensor, blocks: Tensor, *, eps: float = EPSILON) -> Tensor:
    """L_racl: binary cross-entropy between the cosine similarity of attention maps and the block matrix (Eq. 6, 7).

    Args:
        attention_maps: G [B, Z, K], mean over heads, rows sum to 1; or one image's [Z, K].
        blocks: [Z, Z], 1 where two attributes share a region, else 0.

    Returns:
        A scalar, the mean over Z^2 pairs and the batch.

    Raises:
        ValueError: `blocks` is not [Z, Z].
    """
    texts = attention_maps.shape[-2]
    if blocks.shape != (texts, texts):
        raise ValueError(f"expected a block matrix [{texts}, {texts}] for {texts} maps; got {[*blocks.shape]}")
    return _similarity_cross_entropy(attention_maps, blocks.float(), eps)


def weighted_binary_cross_entropy(
    logits: Tensor, targets: Tensor, positive_rate: Tensor, known: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy in which rare labels weigh more: the loss of VTB and of most classifiers in the field.

    A label weighs exp(1 - r) where it is 1 and exp(r) where it is 0, r being the attribute's share of positives in the
    training split.

    Args:
        logits, targets: [B, Z].
        positive_rate: r [Z].
        known: [B, Z] bool, False where a label does not count.

    Returns:
        A scalar: the sum over attributes, averaged over the batch.
    """
    targets = (targets > 0.5).float()
    weights = torch.where(targets > 0.5, torch.exp(1 - positive_rate), torch.exp(positive_rate))
    if known is not None:
        weights = weights * known
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (losses * weights).sum(dim=1).mean()


def _similarity_cross_entropy(rows: Tensor, target: Tensor, eps: float) -> Tensor:
    """Mean of -(t log s + (1 - t) log(1 - s)) over the pairs of rows [..., R, C], s being their clamped cosine similarity.

    Unlike torch's binary cross-entropy it lets NaN through, so that the caller notices it.
    """
    unit = F.normalize(rows.float(), dim=-1)
    similarity = (unit @ unit.mT).clamp(eps, 1 - eps)
    return -(target * similarity.log() + (1 - target) * (1 - similarity).log()).mean()
