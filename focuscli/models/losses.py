"""The four losses of FOCUS (Eq. 8) as pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-4


def many_to_many_loss(logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """Many-to-many contrastive loss over the rows of `logits` (POAR's form; L_v2t, and L_t2v on the transpose; Eq. 8).

    For one row with scores s, positives P and negatives N the loss is the mean over p in P of
    -log(exp(s_p) / (exp(s_p) + sum over n in N of exp(s_n))): other positives are left out of the denominator.
    Rows without a positive do not count; a row without a negative gives 0.

    Args:
        logits: [R, C] scores.
        targets: [R, C], positive where above 0.5.
        known: [R, C] bool, False where the label is uncertain: neither positive nor negative. None: all are known.

    Returns:
        A scalar, the mean over the rows that count; 0 (with a gradient of 0) where none does.

    Raises:
        ValueError: the shapes differ or are not two-dimensional.
    """
    if logits.dim() != 2 or logits.shape != targets.shape or (known is not None and known.shape != logits.shape):
        raise ValueError(f"want logits and targets of one shape [R, C]; got {[*logits.shape]} and {[*targets.shape]}")
    logits = logits.float()
    positive = targets > 0.5
    negative = ~positive
    if known is not None:
        positive, negative = positive & known, negative & known
    # Rows without a negative get -inf here, and softplus(-inf) = 0, as wanted. The finite floor keeps the gradient of
    # logsumexp defined for them (it is NaN where all inputs are -inf).
    floor = torch.finfo(logits.dtype).min
    negatives = torch.logsumexp(logits.masked_fill(~negative, floor), dim=1, keepdim=True)
    losses = F.softplus(negatives - logits).where(positive & negative.any(dim=1, keepdim=True), 0.0)
    positives = positive.sum(dim=1)
    rows = losses.sum(dim=1) / positives.clamp(min=1)
    return rows.sum() / (positives > 0).sum().clamp(min=1)


def grouped_many_to_many_loss(
    logits: Tensor, targets: Tensor, groups: Tensor, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """L_v2t and L_t2v: the many-to-many loss within each group of texts, mean over groups (spec section 5).

    A group counts for a direction when at least one of its rows has a positive.

    Args:
        logits: [B, Z] scores of images against texts; targets, known: the same shape, see `many_to_many_loss`.
        groups: [Z, Q] bool, membership of text z in group q. For L_t2v the rows are single texts, so that groups only
            weight the mean.

    Returns:
        Two scalars.
    """
    positive, negative = targets > 0.5, targets <= 0.5
    if known is not None:
        positive, negative = positive & known, negative & known
    logits = logits.float()
    floor = torch.finfo(logits.dtype).min
    _batch, _texts = logits.shape
    count = groups.shape[1]

    # L_v2t. [B, Q, Z]: negatives of an image within each group.
    members = groups.T[None]
    in_group = negative[:, None] & members
    negatives = torch.logsumexp(logits[:, None].expand(-1, count, -1).masked_fill(~in_group, floor), dim=2)  # [B, Q]
    has_negative = in_group.any(dim=2)
    group_of = groups.int().argmax(dim=1)  # [Z]
    losses = F.softplus(negatives[:, group_of] - logits).where(positive & has_negative[:, group_of], 0.0)  # [B, Z]
    membership = groups.to(logits.dtype)
    positives = positive.to(logits.dtype) @ membership  # [B, Q]
    rows = (losses @ membership) / positives.clamp(min=1)
    counting = (positives > 0).sum(dim=0)  # [Q]
    per_group = rows.sum(dim=0) / counting.clamp(min=1)
    v2t = per_group.sum() / (counting > 0).sum().clamp(min=1)

    # L_t2v. Rows are texts, columns the images.
    negatives = torch.logsumexp(logits.masked_fill(~negative, floor), dim=0)  # [Z]
    losses = F.softplus(negatives - logits).where(positive & negative.any(dim=0), 0.0)
    positives_of_text = positive.sum(dim=0)
    rows = losses.sum(dim=0) / positives_of_text.clamp(min=1)  # [Z]
    counts = (positives_of_text > 0).to(logits.dtype)
    counting = counts @ membership
    per_group = (rows @ membership) / counting.clamp(min=1)
    t2v = per_group.sum() / (counting > 0).sum().clamp(min=1)
    return v2t, t2v


def mix_diversity_loss(mix_features: Tensor, *, eps: float = EPSILON) -> Tensor:
    """L_sim: binary cross-entropy between the cosine similarity of the Mix Tokens and the unit matrix (Eq. 4).

    The paper does not say how a cosine reaches (0, 1); here it is clamped to [eps, 1 - eps] (spec section 2.7).

    Args:
        mix_features: M_out [B, K, D], or one image's [K, D].

    Returns:
        A scalar, the mean over K^2 pairs and the batch.
    """
    unit = F.normalize(mix_features.float(), dim=-1)
    similarity = unit @ unit.mT
    return _binary_cross_entropy(similarity, torch.eye(similarity.shape[-1], device=similarity.device), eps)


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
        raise ValueError(f"want a block matrix [{texts}, {texts}] for {texts} attention maps; got {[*blocks.shape]}")
    unit = F.normalize(attention_maps.float(), dim=-1)
    similarity = unit @ unit.mT
    return _binary_cross_entropy(similarity, blocks.to(similarity), eps)


def weighted_binary_cross_entropy(
    logits: Tensor, targets: Tensor, positive_rate: Tensor, known: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy whose rare labels weigh more: the loss of VTB and most classifier-based PAR.

    A label weighs exp(1 - r) where it is 1 and exp(r) where it is 0, r being the attribute's share of positives in the
    training split.

    Args:
        logits, targets: [B, Z]. positive_rate: r [Z]. known: [B, Z] bool, False where a label does not count.

    Returns:
        A scalar: the sum over attributes, mean over the batch.
    """
    targets = (targets > 0.5).to(torch.float32)
    weights = torch.where(targets > 0.5, torch.exp(1 - positive_rate), torch.exp(positive_rate))
    if known is not None:
        weights = weights * known
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (losses * weights).sum(dim=1).mean()


def _binary_cross_entropy(similarity: Tensor, target: Tensor, eps: float) -> Tensor:
    """Mean of -(t log s + (1 - t) log(1 - s)), s clamped; unlike torch's own it lets NaN through, for the caller to see."""
    clamped = similarity.clamp(eps, 1 - eps)
    return -(target * clamped.log() + (1 - target) * (1 - clamped).log()).mean()
