"""How a model scores the tokens of a gallery: folded where it has the attention module, else by its own `score`."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from focuscli.errors import UsageError
from focuscli.gallery.folded import FoldedAttention
from focuscli.methods.base import Method
from focuscli.model.focus import FocusModel
from focuscli.recognizer import Recognizer

SEARCHABLE = ("focus", "clip", "clip-ft", "poar")


class Scorer(ABC):
    """Scores of tokens [n, K, D] (half precision) against fixed texts."""

    scale: float
    texts: Tensor

    @abstractmethod
    def scores(self, tokens: Tensor) -> Tensor:
        """[n, Z] in single precision."""

    @abstractmethod
    def exact(self, tokens: Tensor) -> Tensor:
        """[n, Z] in double precision, for the order of the best."""


class FoldedScorer(Scorer):
    """Of models with attribute-guided extraction; see `focuscli.gallery.folded`."""

    def __init__(self, folded: FoldedAttention, text_features: Tensor) -> None:
        self.attention = folded
        self.scale = folded.scale
        self.texts = text_features
        self.query = folded.fold(text_features)
        self.functions = self.query.functions()
        self._fine = folded.double()
        self._fine_query = self._fine.fold(text_features)

    def scores(self, tokens: Tensor) -> Tensor:
        return self.attention.scores(tokens, self.query, self.functions)

    def exact(self, tokens: Tensor) -> Tensor:
        return self._fine.scores(tokens, self._fine_query)


class ModelScorer(Scorer):
    """Of any other model."""

    def __init__(self, model: Method, text_features: Tensor) -> None:
        self.model = model
        self.scale = float(model.clip.logit_scale.exp())
        self.texts = text_features.float()

    def scores(self, tokens: Tensor) -> Tensor:
        return self.model.score(tokens.float(), self.texts).scores.float()

    def exact(self, tokens: Tensor) -> Tensor:
        return self.scores(tokens).double()


def make_scorer(model: Method, text_features: Tensor) -> Scorer:
    """The scorer of a model for texts (rows of its `encode_texts`)."""
    folded = fold_model(model)
    return ModelScorer(model, text_features) if folded is None else FoldedScorer(folded, text_features)


def fold_model(model: Method) -> FoldedAttention | None:
    """The folded attention module of a model that has one."""
    if not isinstance(model, FocusModel) or model.avfe is None:
        return None
    return FoldedAttention(model.avfe, float(model.clip.logit_scale.exp()))


def require_searchable(method: str) -> None:
    """Refuse methods whose score is no function of a few stored vectors and any text.

    Raises:
        UsageError: the method is such.
    """
    if method not in SEARCHABLE:
        raise UsageError(
            f"Method {method} cannot search a gallery: it has a classifier per trained attribute over all patches, "
            "and no tokens that a text could be compared with.",
            f"Use a checkpoint of: {', '.join(SEARCHABLE)}.",
        )


def fingerprint(recognizer: Recognizer) -> dict[str, str]:
    """What binds a gallery to a model: SHA-256 of its configuration, and over the names and bytes of all its tensors."""
    settings = recognizer.config.model.model_dump(mode="json")
    weights = hashlib.sha256()
    for name, value in sorted(recognizer.model.state_dict().items()):
        weights.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        weights.update(
            value.detach().cpu().contiguous().view(torch.uint8).numpy().data
            if value.ndim
            else str(value.item()).encode()
        )
    return {
        "config": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "weights": weights.hexdigest(),
    }
