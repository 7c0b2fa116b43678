"""How a model scores the tokens of a gallery: folded where it has the attention module, else by its own `score`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from focuscli.models.base import Method
from focuscli.models.focus import FocusModel
from focuscli.tools.gallery.folded import FoldedAttention


class Scorer(ABC):
    """Scores of tokens [n, K, D] (half precision) against fixed texts."""

    scale: float
    texts: Tensor

    @abstractmethod
    def scores(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        """[n, T] of some texts, in single precision."""

    @abstractmethod
    def exact(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        """[n, T] of some texts, for the order of the best; the same to single precision whatever else is in `tokens`."""


class FoldedScorer(Scorer):
    """Of models with attribute-guided extraction; see `focuscli.tools.gallery.folded`."""

    def __init__(self, folded: FoldedAttention, text_features: Tensor) -> None:
        self.attention = folded
        self.scale = folded.scale
        self.texts = text_features
        self.query = folded.fold(text_features)
        self.functions = self.query.functions()
        self._fine = folded.double()
        self._fine_query = self._fine.fold(text_features)

    def scores(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        return self.attention.scores(tokens, self.query.only(columns))

    def exact(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        return self._fine.scores(tokens.cpu(), self._fine_query.only(columns))


class ModelScorer(Scorer):
    """Of any other model."""

    def __init__(self, model: Method, text_features: Tensor) -> None:
        self.model = model
        self.scale = float(model.clip.logit_scale.exp())
        self.texts = text_features.float()

    def scores(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        return self.model.score(tokens.float(), self.texts[[*columns]]).scores.float()

    def exact(self, tokens: Tensor, columns: Sequence[int]) -> Tensor:
        # Crop by crop: in a larger product the last digit of a score depends on what else is in it.
        return torch.cat([self.scores(crop[None], columns) for crop in tokens]).double()


def make_scorer(model: Method, text_features: Tensor) -> Scorer:
    """The scorer of a model for texts (rows of its `encode_texts`)."""
    folded = fold_model(model)
    return ModelScorer(model, text_features) if folded is None else FoldedScorer(folded, text_features)


def fold_model(model: Method) -> FoldedAttention | None:
    """The folded attention module of a model that has one."""
    if not isinstance(model, FocusModel) or model.avfe is None:
        return None
    return FoldedAttention(model.avfe, float(model.clip.logit_scale.exp()))
