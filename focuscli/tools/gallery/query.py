"""What is asked for: texts that a crop must fit and texts that it must not, as one number per crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from focuscli.errors import UsageError

FARTHEST = 600.0  # exp of more overflows in double precision.


@dataclass(frozen=True)
class Query:
    """A search.

    Attributes:
        wanted, unwanted: columns of texts. thresholds: by column, None where there is none to decide by (CLIP as it is).
    """

    wanted: tuple[int, ...]
    unwanted: tuple[int, ...] = ()
    thresholds: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns:
            raise UsageError("A query without a text.")

    @property
    def columns(self) -> tuple[int, ...]:
        return self.wanted + self.unwanted

    @property
    def in_probability(self) -> bool:
        """Whether crops are ordered by the probability that all wanted texts and no unwanted one fit."""
        return len(self.thresholds) == len(self.columns) and None not in self.thresholds

    def values(self, scores: Tensor) -> Tensor:
        """What crops are ordered by [n], from scores [n, T] of `columns` in that order, in double precision.

        With thresholds the log-odds of P = prod_i p_i over wanted and (1 - p_j) over unwanted texts, where
        p = sigmoid(score - threshold): of one wanted text that is score - threshold. Without thresholds the sum of the
        wanted scores minus the sum of the unwanted. Either way it moves by at most as much as the scores do in sum.
        """
        scores = scores.cpu() if scores.device.type == "mps" else scores  # which has no double precision
        signed = scores.double() * self._signs(scores)
        if not self.in_probability:
            return signed.sum(dim=1)
        limits = torch.tensor(self.thresholds, dtype=torch.float64, device=scores.device) * self._signs(scores)
        distance = (signed - limits).clamp(-FARTHEST, FARTHEST)
        if distance.shape[1] == 1:
            return distance[:, 0]
        log_all = -torch.nn.functional.softplus(-distance, threshold=1e9).sum(dim=1)
        return log_all - (-torch.expm1(log_all)).log()

    def most(self, lower: Tensor, upper: Tensor) -> Tensor:
        """The largest `values` that scores between lower and upper [n, T] can give."""
        if upper.device.type == "mps":
            lower, upper = lower.cpu(), upper.cpu()
        return self.values(torch.where(self._signs(upper) > 0, upper, lower))

    def _signs(self, like: Tensor) -> Tensor:
        signs = [1.0] * len(self.wanted) + [-1.0] * len(self.unwanted)
        return torch.tensor(signs, dtype=torch.float64, device=like.device)


def columns_of(queries: Sequence[Query]) -> int:
    """How many texts the queries speak of."""
    return 1 + max(max(query.columns) for query in queries)
