"""A model that scores crops, what it decides about texts, and where the thresholds come from; the same for every backend.

Importing this imports no torch: exported models are used without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from focuscli.data.texts import Text
from focuscli.engine.scoring import ScorePixels
from focuscli.inference.vocabulary import Vocabulary


class Scorer(ABC):
    """A trained model that scores crops against texts: a `Recognizer` in torch, or an exported model in onnxruntime.

    Attributes:
        folder: where it is stored, as outputs name it.
        weights: the origin of its initial weights, in words.
        threshold_source: what its thresholds were chosen on, in words.
        about: what it is, in words: method, training data, epochs and weights.
        vocabulary: the texts it knows, their regions and thresholds.
        image_size: (H, W) of its input.
        default_texts: what crops are scored against if no texts are given.
    """

    folder: Path
    weights: str
    threshold_source: str
    about: str
    vocabulary: Vocabulary
    image_size: tuple[int, int]
    default_texts: tuple[Text, ...]

    @abstractmethod
    def score_fn(self, texts: Sequence[Text]) -> ScorePixels:
        """Encode the texts once, and return a function from uint8 pixels [B, H, W, 3] to scores [B, Z].

        Raises:
            UsageError: a text is empty, too long, or not supported by this model.
        """

    def text(self, words: str, *, region: str | None = None) -> Text:
        """A text from words, see `Vocabulary.text`.

        Raises:
            UsageError: no word, or an unknown region.
        """
        return self.vocabulary.text(words, region=region)

    def is_seen(self, text: Text) -> bool:
        """Whether a text of this phrase was trained; never for zero-shot CLIP."""
        return self.vocabulary.is_seen(text)

    def threshold(self, text: Text) -> tuple[float, str]:
        """The threshold of a text and where it comes from, see `Vocabulary.threshold`."""
        return self.vocabulary.threshold(text)


@dataclass(frozen=True)
class TextDecision:
    """A text, its threshold, and where this and its region come from; zero-shot CLIP has no thresholds (None)."""

    text: Text
    seen: bool
    threshold: float | None
    threshold_source: str
    region_source: str = ""

    def present(self, score: float) -> bool | None:
        """Whether the score is above the threshold; None without one."""
        return None if self.threshold is None else score > self.threshold


def decide(vocabulary: Vocabulary, texts: Sequence[Text], *, threshold: float | None = None) -> list[TextDecision]:
    """Thresholds for texts: `threshold` for all, else a seen attribute's own, else the mean of its region."""
    decisions = []
    for text in texts:
        value, source = vocabulary.threshold(text) if threshold is None else (threshold, "--threshold")
        known = None if math.isnan(value) else value
        decisions.append(TextDecision(text, vocabulary.is_seen(text), known, source, vocabulary.region_source(text)))
    return decisions


class Answer(NamedTuple):
    """A text's score for an image, and whether the image shows it; None without a threshold."""

    decision: TextDecision
    score: float
    present: bool | None

    @property
    def margin(self) -> float:
        """The score's distance from its threshold, or the score itself without one."""
        return self.score - (self.decision.threshold or 0.0)


def answers(decisions: Sequence[TextDecision], scores: Sequence[float], *, exclusive: bool = False) -> list[Answer]:
    """What scores say, in the order of the texts.

    Args:
        exclusive: of several texts of one group (see `Text`) only the one with the largest margin is present, and that one
            is, even below its threshold.
    """
    found = [
        Answer(decision, score, decision.present(score)) for decision, score in zip(decisions, scores, strict=True)
    ]
    groups = Counter(decision.text.group for decision in decisions)
    best: dict[str, Answer] = {}
    for answer in sorted(found, key=lambda answer: answer.margin):
        best[answer.decision.text.group] = answer
    return [
        answer._replace(present=answer is best[group])
        if exclusive and (group := answer.decision.text.group) and groups[group] > 1
        else answer
        for answer in found
    ]


def thresholds_of(decisions: Sequence[TextDecision]) -> dict[str, Any]:
    """For JSON output: the texts' thresholds and their sources, by phrase, and the phrases that are unseen."""
    values = {decision.text.phrase: decision.threshold for decision in decisions}
    return {
        "thresholds": {phrase: None if value is None else round(value, 4) for phrase, value in values.items()},
        "threshold_source": {decision.text.phrase: decision.threshold_source for decision in decisions},
        "unseen": [decision.text.phrase for decision in decisions if not decision.seen],
    }


def probability(score: float, threshold: float | None) -> float | None:
    """The logistic function of a score's distance from its threshold, in (0, 1); None without a threshold.

    It is 0.5 at the threshold and serves to sort and to draw; it is not a calibrated probability.
    """
    return None if threshold is None else 1 / (1 + math.exp(-max(-60.0, min(60.0, score - threshold))))


def record(image: Path, found: Sequence[Answer], scorer: Scorer) -> dict[str, Any]:
    """One JSON line: image, scores, what is present, and `thresholds_of` the texts."""
    return {
        "image": str(image),
        "scores": {answer.decision.text.phrase: round(answer.score, 4) for answer in found},
        "present": [answer.decision.text.phrase for answer in found if answer.present],
        **thresholds_of([answer.decision for answer in found]),
        "model": str(scorer.folder),
        "weights": scorer.weights,
    }
