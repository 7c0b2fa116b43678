"""Attributes of many image files: scores, decisions and where the thresholds come from; the same for every backend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focuscli.data.crops import Pixels, evenly, read_pixels
from focuscli.data.texts import Text
from focuscli.engine.distributed import SINGLE, ProcessGroup
from focuscli.errors import InputError
from focuscli.inference.scorer import ScorePixels, Scorer


@dataclass(frozen=True)
class TextDecision:
    """A text, its threshold, and how that came about; None where there is none to decide by (CLIP as it is)."""

    text: Text
    seen: bool
    threshold: float | None
    threshold_source: str

    def present(self, score: float) -> bool | None:
        """Whether the score says yes; None without a threshold."""
        return None if self.threshold is None else score > self.threshold


@dataclass(frozen=True)
class Prediction:
    """One image's scores, in the order of the texts."""

    image: Path
    scores: list[float]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why."""

    image: Path
    reason: str


def decide(scorer: Scorer, texts: Sequence[Text]) -> list[TextDecision]:
    """Thresholds for texts: a seen attribute's own, else the mean of its region."""
    decisions = []
    for text in texts:
        threshold, source = scorer.threshold(text)
        decisions.append(TextDecision(text, scorer.is_seen(text), None if math.isnan(threshold) else threshold, source))
    return decisions


def probability(score: float, threshold: float | None) -> float | None:
    """A score as a number in (0, 1) that is 0.5 at the threshold: the logistic function of their distance. It orders and
    draws; it is not calibrated. None without a threshold."""
    return None if threshold is None else 1 / (1 + math.exp(-max(-60.0, min(60.0, score - threshold))))


def shown_threshold(decision: TextDecision) -> float | None:
    """The threshold as files hold it."""
    return None if decision.threshold is None else round(decision.threshold, 4)


def predict(
    scorer: Scorer,
    paths: Sequence[Path],
    texts: Sequence[Text],
    *,
    batch_size: int = 32,
    workers: int = 2,
    strict: bool = False,
    process_group: ProcessGroup = SINGLE,
) -> Iterator[Prediction | Skipped]:
    """One item per path, in order; the texts are read at once, the images one batch after the other. In a group of
    processes each takes one batch of a round, and all yield all.

    Raises:
        UsageError: a text is empty, too long, or nothing that this model can be asked.
        InputError: with `strict`, in its place the first image that cannot be read.
    """
    return _predict(scorer.score_fn(texts), paths, scorer.image_size, batch_size, workers, strict, process_group)


def _predict(
    score: ScorePixels,
    paths: Sequence[Path],
    size: tuple[int, int],
    batch_size: int,
    workers: int,
    strict: bool,
    process_group: ProcessGroup,
) -> Iterator[Prediction | Skipped]:
    batches = evenly(len(paths), batch_size)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for start in range(0, len(batches), process_group.world_size):
            mine: list[Prediction | Skipped] | InputError = []
            if start + process_group.rank < len(batches):
                batch = [paths[index] for index in batches[start + process_group.rank]]
                mine = _predict_batch(score, batch, size, pool, strict=strict)
            for items in process_group.all_gather(mine):
                if isinstance(items, InputError):
                    raise items
                yield from items


def _predict_batch(
    score: ScorePixels, paths: Sequence[Path], size: tuple[int, int], pool: ThreadPoolExecutor, *, strict: bool
) -> list[Prediction | Skipped] | InputError:
    """An item per path; with `strict` the error of the first image that cannot be read."""

    def read(path: Path) -> Pixels | InputError:
        try:
            return read_pixels(path, size)
        except InputError as error:
            return error

    opened = [*pool.map(read, paths)]
    if strict and (errors := [item for item in opened if isinstance(item, InputError)]):
        return errors[0]
    crops = [item for item in opened if not isinstance(item, InputError)]
    scores = iter(score(np.stack(crops)).tolist() if crops else [])
    return [
        Skipped(path, item.problem) if isinstance(item, InputError) else Prediction(path, next(scores))
        for path, item in zip(paths, opened, strict=True)
    ]


def record(prediction: Prediction, decisions: Sequence[TextDecision], scorer: Scorer) -> dict[str, Any]:
    """One JSON line: image, scores, what is present, the thresholds and their sources, which texts are unseen."""
    phrases = [decision.text.phrase for decision in decisions]
    pairs = [*zip(decisions, prediction.scores, strict=True)]
    return {
        "image": str(prediction.image),
        "scores": {phrase: round(score, 4) for phrase, score in zip(phrases, prediction.scores, strict=True)},
        "present": [decision.text.phrase for decision, score in pairs if decision.present(score)],
        "thresholds": {decision.text.phrase: shown_threshold(decision) for decision in decisions},
        "threshold_source": {decision.text.phrase: decision.threshold_source for decision in decisions},
        "unseen": [decision.text.phrase for decision in decisions if not decision.seen],
        "model": str(scorer.folder),
        "weights": scorer.weights,
    }
