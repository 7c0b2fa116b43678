"""Open-domain evaluation: a checkpoint on another dataset's texts and groups, beside chance and a majority-class baseline.

Image to text is grouped Recall@K; text to image is average precision, trained and unseen attributes apart. The two
protocols are presets in `focuscli.evaluation.protocols`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import Text
from focuscli.engine.scoring import Progress
from focuscli.errors import InputError
from focuscli.evaluation.targets import Candidates, Target
from focuscli.inference.recognizer import Recognizer
from focuscli.metrics import retrieval
from focuscli.metrics.attributes import average_precision, finite
from focuscli.metrics.retrieval import Grouped

Metrics = dict[str, float | None]
DEPTHS = (1, 10)
"""k of precision at k; undefined for a text with fewer images to rank."""
RECALL = {
    "any": (retrieval.grouped_recall, retrieval.grouped_chance),
    "last positive": (retrieval.grouped_recall_last_positive, retrieval.grouped_chance_last_positive),
}
"""`Protocol.recall_at_2` -> recall of scores, and what it is for a random order."""


@dataclass(frozen=True)
class TextMetrics:
    """One text of the target; fractions, None where undefined.

    Attributes:
        attribute: name in the target's schema; None for a complement ("none of these").
        seen: whether `read_as`, the text that the model reads, is a phrase that was trained. prompt: whose learned vectors
            stand before it.
        candidate: whether it takes part in image-to-text retrieval. positives: number of images that it is true of.
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
    precision: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class OpenDomainReport:
    """One cell of the source x target matrix; fractions, not percent.

    Attributes:
        source: name of the dataset that was trained on; None for the baselines alone (a target without images).
        target, target_folder: the target's name and its folder.
        groups: of each group the numbers of its texts, of those trained (by phrase) and of images with a true text, and the
            answer of the majority-class baseline ("blind answer", as in version 0.1).
        recall, macro: of the checkpoint; None without one.
        chance: expected for a random order. majority, majority_macro: of the majority-class baseline, which answers the
            most frequent words of train and val without looking at the image; None if there are no such images.
        ranking: {"seen": {"texts", "AP", "prevalence", "P@1", ...}, "unseen": ...} over attributes, or POAR's hit rate.
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
    majority: Grouped | None
    majority_macro: Grouped | None
    ranking: dict[str, Metrics]
    texts: list[TextMetrics]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values. The baseline's keys are those of version 0.1: blind, blind_macro."""
        values = asdict(self)
        values["blind"], values["blind_macro"] = values.pop("majority"), values.pop("majority_macro")
        return values

    def means(self) -> dict[str, Metrics]:
        """R@1, R@2 and macro R@1, means over groups, of whatever there is: "source", "chance", "majority-class baseline"."""
        rows = {
            "source": (self.recall, self.macro),
            "chance": (self.chance, None),
            "majority-class baseline": (self.majority, self.majority_macro),
        }
        found: dict[str, Metrics] = {}
        for name, (recall, macro) in rows.items():
            if recall is not None:
                values = {**recall["mean"], **({"macro R@1": macro["mean"]["R@1"]} if macro else {})}
                found[name] = {key: finite(value) for key, value in values.items()}
        return found


def evaluate_open_domain(
    recognizer: Recognizer | None, target: Target, *, workers: int = 2, progress: Progress | None = None
) -> OpenDomainReport:
    """Score a checkpoint on a target; without one, the baselines alone.

    Raises:
        InputError: the checkpoint was trained on none of the target's regions, or an image cannot be read.
        UsageError: a text is too long.
    """
    found, groups, truth = target.candidates, target.candidates.groups, target.targets
    inputs, scores, notes = target.texts, None, [*target.notes]
    if recognizer is not None and recognizer.stopped:
        notes.append(f"{recognizer.dataset} run was stopped early or is still running: {recognizer.stopped}")
    if recognizer is not None:
        check_regions(recognizer, target)
        inputs = [*_text_inputs(recognizer, found), *target.beyond]
        scores = recognizer.score_files(target.paths, inputs, workers=workers, progress=progress)
        unknown = sorted({text.region for text in target.texts} - {text.region for text in recognizer.attributes})
        if unknown and recognizer.config.model.rlp:
            notes.append(f"regions never trained ({', '.join(unknown)}): their texts use the mean of all prompts")
    elif target.folder.labels_only:
        notes.append("labels alone, no images: chance and the majority-class baseline only")
    majority = retrieval.majority_scores(target.training, len(truth)) if len(target.training) else None
    recall, chance = RECALL[found.protocol.recall_at_2]
    ranked = None if scores is None else scores[:, : len(groups)]
    rows = _text_metrics(recognizer, target, inputs, scores)
    facts = {}
    for name in dict.fromkeys(groups):
        members = [position for position, group in enumerate(groups) if group == name]
        facts[name] = {
            "texts": len(members),
            "seen": None if recognizer is None else sum(bool(rows[position].seen) for position in members),
            "images": int(truth[:, members].any(axis=1).sum()),
            "blind answer": None if majority is None else rows[max(members, key=lambda z: majority[0, z])].phrase,
        }
    return OpenDomainReport(
        source=recognizer.dataset if recognizer else None,
        checkpoint=str(recognizer.folder) if recognizer else None,
        weights=recognizer.weights if recognizer else None,
        trained_on=recognizer.trained_on if recognizer else None,
        target=target.folder.name,
        target_folder=str(target.folder.path),
        split=target.split,
        images=len(truth),
        protocol=found.protocol.name,
        decisions=asdict(found.protocol),
        groups=facts,
        recall=None if ranked is None else recall(ranked, truth, groups),
        macro=None if ranked is None else retrieval.grouped_macro_recall(ranked, truth, groups),
        chance=chance(truth, groups),
        majority=None if majority is None else recall(majority, truth, groups),
        majority_macro=None if majority is None else retrieval.grouped_macro_recall(majority, truth, groups),
        ranking={} if scores is None else _ranking(target, rows, scores),
        texts=rows,
        notes=notes,
    )


def check_regions(recognizer: Recognizer, target: Target) -> None:
    """Refuse a target none of whose texts lies in a region that the checkpoint was trained on.

    Raises:
        InputError: with both lists of regions.
    """
    trained = sorted({text.region for text in recognizer.attributes})
    wanted = sorted({text.region for text in target.candidates.texts})
    if not set(trained) & set(wanted):
        raise InputError(
            f"No text of {target.folder.name} lies in a region that this model was trained on (its regions: "
            f"{', '.join(wanted)}; trained: {', '.join(trained)}), so no learned prompt fits any of them.",
            f"Name the regions in {target.folder.path / 'schema.toml'} alike, or choose another --target.",
        )


def _text_inputs(recognizer: Recognizer, found: Candidates) -> list[Text]:
    """What the model reads for each candidate (`Protocol.sentences`)."""
    if found.protocol.sentences == "own":
        return [*found.texts]
    inputs = []
    for text, sentence, declared in found.items:
        if declared is not None and recognizer.is_seen(declared):
            inputs.append(declared)
        else:
            inputs.append(text if recognizer.config.model.rlp else replace(text, phrase=sentence))
    return inputs


def _text_metrics(
    recognizer: Recognizer | None, target: Target, inputs: Sequence[Text], scores: NDArray | None
) -> list[TextMetrics]:
    precision: Mapping[str, NDArray] = {}
    area = np.full(len(inputs), np.nan)
    if scores is not None:
        area = average_precision(target.truth, scores, target.known)
        precision = retrieval.precision_at_k(target.truth, scores, DEPTHS, target.known)
    return [
        TextMetrics(
            phrase=text.phrase,
            attribute=text.attribute,
            group=text.group,
            region=text.region,
            seen=recognizer.is_seen(read) if recognizer else None,
            read_as=read.phrase,
            prompt=recognizer.model.prompt_source(read) if recognizer else None,
            candidate=position < len(target.candidates.items),
            positives=int(target.truth[:, position].sum()),
            AP=finite(area[position]),
            precision={name: finite(values[position]) for name, values in precision.items()},
        )
        for position, (text, read) in enumerate(zip(target.texts, inputs, strict=True))
    ]


def _ranking(target: Target, rows: Sequence[TextMetrics], scores: NDArray) -> dict[str, Metrics]:
    found = target.candidates
    if found.protocol.text_to_image == "hit rate":
        columns = [position for position, text in enumerate(found.texts) if text.attribute is not None]
        words = [found.texts[position].phrase for position in columns]
        hits = retrieval.hit_rate(target.truth[:, columns], scores[:, columns], words)
        return {"all": {"texts": len(set(words)), **hits}}
    ranked = [row for row in rows if row.attribute is not None and row.AP is not None]
    parts = {"seen": [row for row in ranked if row.seen], "unseen": [row for row in ranked if not row.seen]}
    return {
        name: {
            "texts": len(part),
            "AP": _mean([row.AP for row in part]),
            "prevalence": _mean([row.positives / len(scores) for row in part]),
            **{f"P@{k}": _mean([row.precision[f"P@{k}"] for row in part]) for k in DEPTHS},
        }
        for name, part in parts.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
