"""Open-domain evaluation: a checkpoint on another dataset's texts and groups, beside chance and an image-blind predictor.

Image to text is grouped Recall@K, text to image average precision, seen and unseen texts apart (spec section 7). What the
presets `corrected` and `poar` decide stands in `focuscli.evaluation.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import Text
from focuscli.errors import InputError
from focuscli.evaluation.candidates import frequent
from focuscli.evaluation.targets import Target
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics.attributes import average_precision, finite
from focuscli.metrics.retrieval import (
    Grouped,
    blind_scores,
    grouped_chance,
    grouped_chance_last_positive,
    grouped_macro_recall,
    grouped_recall,
    grouped_recall_last_positive,
    hit_rate,
    precision_at_k,
)

Figures = dict[str, float | None]
DEPTHS = (1, 10)
"""k of precision at k; where a text has fewer images in its gallery, there is no figure."""


@dataclass(frozen=True)
class TextFigures:
    """One text of the target; fractions, None where undefined.

    Attributes:
        attribute: name in the target's schema; None for a complement ("none of these").
        seen: whether what is read, `read_as`, is a phrase that was trained. prompt: whose learned vectors go before it.
        candidate: whether it takes part in image-to-text retrieval; positives: images that it is true of.
        AP: average precision; its chance level is positives / images. precision: {"P@1": ..., ...}.
    """

    phrase: str
    attribute: str | None
    group: str
    region: str
    seen: bool | None
    read_as: str
    prompt: str | None
    candidate: bool
    positives: int
    AP: float | None = None
    precision: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class OpenDomainReport:
    """One cell of the source x target matrix; fractions, not percent.

    Attributes:
        source: name of the dataset that was trained on; None for the baselines alone (a target without images).
        target, target_folder: name in the target's schema, and where it lies.
        groups: {group: {"texts", "seen", "images", "blind answer"}}: seen texts are those trained, by phrase; images
            those with a true text.
        recall, macro: of the checkpoint; None without one. chance, blind, blind_macro: what goes beside; blind is None
            where the target has no training images to count words in.
        ranking: {"seen": {"texts", "AP", "prevalence", "P@1", ...}, "unseen": ...} over attributes, or POAR's hit rate.
        notes: what a reader of the figures must know.
    """

    source: str | None
    checkpoint: str | None
    weights: str | None
    trained_on: str | None
    target: str
    target_folder: str
    split: str
    images: int
    protocol: str
    decisions: dict[str, Any]
    groups: dict[str, dict[str, Any]]
    recall: Grouped | None
    macro: Grouped | None
    chance: Grouped
    blind: Grouped | None
    blind_macro: Grouped | None
    ranking: dict[str, Figures]
    texts: list[TextFigures]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_open_domain(
    recognizer: Recognizer | None,
    target: Target,
    *,
    batch_size: int = 128,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> OpenDomainReport:
    """Score a checkpoint on a target; without one, the baselines alone.

    Raises:
        InputError: the checkpoint has seen none of the target's regions, or an image cannot be read.
        UsageError: a text is too long.
    """
    found, groups = target.candidates, target.candidates.groups
    texts, scores, notes = [*found.texts, *target.beyond], None, [*target.notes]
    read = texts
    if recognizer is not None:
        check_regions(recognizer, target)
        read = _read(recognizer, target)
        scores = recognizer.score_files(
            [target.folder.image_path(int(index)) for index in target.indices],
            read,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
        notes += _source_notes(recognizer, target)
    elif target.folder.labels_only:
        notes.append("labels alone, no images: chance and the image-blind predictor only")
    blind = blind_scores(target.training, len(target.indices)) if len(target.training) else None
    count = len(found.texts)
    rows = _text_figures(recognizer, target, texts, read, scores)
    answers = frequent(found.texts, blind[0]) if blind is not None else {}
    return OpenDomainReport(
        source=recognizer.schema.name if recognizer else None,
        checkpoint=str(recognizer.folder) if recognizer else None,
        weights=recognizer.weights if recognizer else None,
        trained_on=recognizer.trained_on if recognizer else None,
        target=target.folder.schema.name,
        target_folder=str(target.folder.path),
        split=target.split,
        images=len(target.indices),
        protocol=found.protocol.name,
        decisions=asdict(found.protocol),
        groups={
            name: {
                "texts": groups.count(name),
                "seen": sum(bool(row.seen) for row in rows[:count] if row.group == name) if recognizer else None,
                "images": int(target.targets[:, [group == name for group in groups]].any(axis=1).sum()),
                "blind answer": answers.get(name),
            }
            for name in dict.fromkeys(groups)
        },
        recall=None if scores is None else _recall(target, scores[:, :count]),
        macro=None if scores is None else grouped_macro_recall(scores[:, :count], target.targets, groups),
        chance=_chance(target),
        blind=None if blind is None else _recall(target, blind),
        blind_macro=None if blind is None else grouped_macro_recall(blind, target.targets, groups),
        ranking={} if scores is None else _ranking(target, rows, scores),
        texts=rows,
        notes=notes,
    )


def check_regions(recognizer: Recognizer, target: Target) -> None:
    """Refuse a target none of whose texts lies in a region that the checkpoint was trained on.

    Raises:
        InputError: with both lists of regions.
    """
    seen = sorted({text.region for text in recognizer.attributes})
    wanted = sorted({text.region for text in target.candidates.texts})
    if not set(seen) & set(wanted):
        raise InputError(
            f"No text of {target.folder.schema.name} lies in a region that this model was trained on (its regions: "
            f"{', '.join(wanted)}; trained: {', '.join(seen)}), so no learned prompt fits any of them.",
            f"Name the regions in {target.folder.path / 'schema.toml'} alike, or choose another --target.",
        )


def _read(recognizer: Recognizer, target: Target) -> list[Text]:
    """What the model reads: for each candidate, then for the attributes beyond (`Protocol.sentences`)."""
    found = target.candidates
    if found.protocol.sentences == "own":
        return [*found.texts, *target.beyond]
    read = []
    for text, sentence, declared in zip(found.texts, found.sentences, found.declared, strict=True):
        if declared is not None and recognizer.is_seen(declared):
            read.append(declared)
        else:
            read.append(text if recognizer.config.model.rlp else replace(text, phrase=sentence))
    return [*read, *target.beyond]


def _recall(target: Target, scores: NDArray) -> Grouped:
    groups = target.candidates.groups
    if target.candidates.protocol.recall_at_2 == "last positive":
        return grouped_recall_last_positive(scores, target.targets, groups)
    return grouped_recall(scores, target.targets, groups)


def _chance(target: Target) -> Grouped:
    groups = target.candidates.groups
    if target.candidates.protocol.recall_at_2 == "last positive":
        return grouped_chance_last_positive(target.targets, groups)
    return grouped_chance(target.targets, groups)


def _text_figures(
    recognizer: Recognizer | None,
    target: Target,
    texts: Sequence[Text],
    read: Sequence[Text],
    scores: NDArray | None,
) -> list[TextFigures]:
    truth = np.concatenate([target.targets, target.beyond_truth[0]], axis=1) > 0.5
    known = np.concatenate([target.known, target.beyond_truth[1]], axis=1)
    precision: Mapping[str, NDArray] = {}
    area = np.full(len(texts), np.nan)
    if scores is not None:
        area, precision = average_precision(truth, scores, known), precision_at_k(truth, scores, DEPTHS, known)
    return [
        TextFigures(
            phrase=text.phrase,
            attribute=text.attribute,
            group=text.group,
            region=text.region,
            seen=recognizer.is_seen(words) if recognizer else None,
            read_as=words.phrase,
            prompt=recognizer.prompt_source(words) if recognizer else None,
            candidate=position < len(target.candidates.texts),
            positives=int(truth[:, position].sum()),
            AP=finite(area[position]),
            precision={name: finite(values[position]) for name, values in precision.items()},
        )
        for position, (text, words) in enumerate(zip(texts, read, strict=True))
    ]


def _ranking(target: Target, rows: Sequence[TextFigures], scores: NDArray) -> dict[str, Figures]:
    found = target.candidates
    if found.protocol.text_to_image == "hit rate":
        columns = [position for position, text in enumerate(found.texts) if text.attribute is not None]
        words = [found.texts[position].phrase for position in columns]
        return {"all": {"texts": len(set(words)), **hit_rate(target.targets[:, columns], scores[:, columns], words)}}
    ranked = [row for row in rows if row.attribute is not None and row.AP is not None]
    parts = {"seen": [row for row in ranked if row.seen], "unseen": [row for row in ranked if not row.seen]}
    images = len(target.indices)
    return {
        name: {
            "texts": len(part),
            "AP": _mean([row.AP for row in part]),
            "prevalence": _mean([row.positives / images for row in part]),
            **{f"P@{k}": _mean([row.precision[f"P@{k}"] for row in part]) for k in DEPTHS},
        }
        for name, part in parts.items()
    }


def _source_notes(recognizer: Recognizer, target: Target) -> list[str]:
    notes = []
    texts = [*target.candidates.texts, *target.beyond]
    trained = {text.region for text in recognizer.attributes}
    strange = sorted({text.region for text in texts} - trained)
    if strange and recognizer.config.model.rlp:
        notes.append(f"regions never trained ({', '.join(strange)}): their texts use the mean of all prompts")
    return notes


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
