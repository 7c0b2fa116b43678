"""How open-domain retrieval is scored: two presets, and every decision that sets them apart, in this one place.

`corrected` (default) is what this project reports. `poar` is what POAR's program computes, errors included, for comparison
with Table II of the FOCUS paper. `DEPARTURES` lists what differs, point by point as facts 3.1 and 3.2 of the protocol
(github.com/IvyYZ/POAR, commit 1081808) do; a point about training or the network belongs to no preset and says where it
is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from focuscli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The decisions of a preset.

    Attributes:
        candidates: texts and groups of the target's schema, or POAR's words (focuscli/evaluation/poar.toml).
        sentences: texts as the checkpoint's own template makes them; or POAR's. POAR tests with the words of its training,
            so a text that the checkpoint was trained on it reads as trained; another one as POAR's sentence with the full
            stop that it has at test only, or, with learned prompts, as POAR's word in the checkpoint's template.
        complements: truth of a text that stands for "none of these": its own label where there is one and unknown where
            the others are; or simply "the others are not labelled 1", and in a group of two the first one's label decides.
        lost_labels: drop the positives that POAR's misspelling drops.
        leaked_words: take the word of one group as true in others that have the same word.
        recall_at_2: any positive within the top two, or POAR's "last positive".
        text_to_image: average precision and precision at k, or the share of words with a hit.
        beyond: also measure the attributes outside the evaluation (colours and extras).
        partition: whether PETA's partition is POAR's.
    """

    name: str
    candidates: Literal["schema", "poar"]
    sentences: Literal["own", "poar"]
    complements: Literal["own label", "rest"]
    lost_labels: bool
    leaked_words: bool
    recall_at_2: Literal["any", "last positive"]
    text_to_image: Literal["ranking", "hit rate"]
    beyond: bool
    partition: Literal["prepared", "poar"]


CORRECTED = Protocol(
    name="corrected",
    candidates="schema",
    sentences="own",
    complements="own label",
    lost_labels=False,
    leaked_words=False,
    recall_at_2="any",
    text_to_image="ranking",
    beyond=True,
    partition="prepared",
)
POAR = Protocol(
    name="poar",
    candidates="poar",
    sentences="poar",
    complements="rest",
    lost_labels=True,
    leaked_words=True,
    recall_at_2="last positive",
    text_to_image="hit rate",
    beyond=False,
    partition="poar",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CORRECTED, POAR)}


def protocol_named(name: str) -> Protocol:
    """The preset of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PROTOCOLS:
        raise UsageError(f'Unknown protocol "{name}".', f"Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class Departure:
    """One point where POAR's program, its paper and good practice part.

    Attributes:
        facts: the point's place in the facts. what: what POAR does.
        field: the field of `Protocol` that decides it; None where no preset can.
        corrected, poar: what the presets do; where `field` is None, `corrected` says where it is decided instead.
    """

    facts: str
    what: str
    field: str | None
    corrected: str
    poar: str = "not repeated"


DEPARTURES: tuple[Departure, ...] = (
    Departure(
        "3.1 groups",
        "own groups and words, CamelCase words unsplit, words without a label",
        "candidates",
        "phrases, groups and complements of the target's schema",
        "POAR's: 10 groups for PETA, 8 for PA-100K, 11 for RAPv1",
    ),
    Departure(
        "3.1 rule 1",
        "in a group of two the second is true where the first is not labelled 1, unlabelled and uncertain included",
        "complements",
        "the second's own label; uncertain images do not count",
        "as POAR",
    ),
    Departure(
        "3.1 rule 2",
        "PA-100K and RAPv1: no label in a group means other or nothing; PETA, RAPv1's age and body: the image is skipped",
        "candidates",
        "a complement where the schema declares one, else the image is skipped",
        "as POAR",
    ),
    Departure(
        "3.1 rule 3",
        "Recall@2 of several positives depends on the iteration order of a set",
        "recall_at_2",
        "any positive within the top two",
        "POAR's rule, mean over all orders",
    ),
    Departure("3.1 rule 4", "unweighted mean over groups with an image", None, "the same in both presets", "as POAR"),
    Departure(
        "3.1 floor",
        "Recall@2 of a group of two is 100 by construction",
        None,
        "kept in the mean in both presets; a note counts such groups, and chance is printed beside",
        "as POAR",
    ),
    Departure(
        "3.1 region tokens",
        "each group reads one region token of the image, from a table per pair of datasets",
        None,
        "a checkpoint's own method scores image and text; FOCUS has no region tokens",
    ),
    Departure(
        "3.1 text to image",
        "share of words with a hit in the top 1 and top 5; words in two groups overwrite each other",
        "text_to_image",
        "average precision and precision at k per attribute",
        "as POAR",
    ),
    Departure(
        "3.2 #1",
        "PETA's last partition (4) instead of the first",
        "partition",
        "the partition that was prepared (focus prepare peta: official:0)",
        "a note says so where PETA was not prepared with official:4; no other split is used silently",
    ),
    Departure("3.2 #2", "PA-100K males are female in training texts", None, "training: labels, not texts, are targets"),
    Departure(
        "3.2 #3",
        "UpperSplice positives are dropped by a misspelling",
        "lost_labels",
        "they count",
        "dropped",
    ),
    Departure(
        "3.2 #4",
        'RAPv1: "attach other" makes "other" true in five more groups',
        "leaked_words",
        "only where it belongs",
        "as POAR",
    ),
    Departure("3.2 #5", "RAPv1 text files cannot be read back", None, "data: labels.csv; focuscli/data"),
    Departure("3.2 #6", "RAPv1 accessories, body and role are not trained", None, "training: every evaluated text is"),
    Departure("3.2 #7", "region masks in PETA's order on every dataset", None, "method: --method poar"),
    Departure("3.2 #8", "6 of 12 layers, new positions", None, "method: --method poar and its switch"),
    Departure(
        "3.2 #9", "a private checkpoint is loaded before training", None, "training: weights are named in the run"
    ),
    Departure("3.2 #10", "debug pictures at every step", None, "training: none"),
    Departure("3.2 #11", "images copied beside label texts", None, "data: originals are read where they are"),
    Departure(
        "3.2 #12", "Recall@2 as in 3.1 rule 3", "recall_at_2", "any positive within the top two", "see 3.1 rule 3"
    ),
    Departure(
        "3.2 #13",
        "a full stop at test that training texts lack",
        "sentences",
        "the same text in training and test",
        "what the checkpoint was trained on is read as trained, the rest as POAR's sentence with the full stop; with "
        "learned prompts as POAR's word in the checkpoint's own template",
    ),
    Departure(
        "3.2 #14",
        "closed-set test with training augmentation and thresholds from test",
        None,
        "closed set: no augmentation; focus eval --threshold oracle is the name of the latter",
    ),
    Departure("3.2 #15", "VTB's row compares vectors of two spaces", None, "method: --method vtb"),
    Departure("3.2 #16", "imports of tkinter, steps of -1", None, "training: own code"),
    Departure(
        "3.2 #17",
        "colour words are encoded and never counted",
        "beyond",
        "attributes outside the evaluation are measured by average precision, unseen ones apart",
        "not counted",
    ),
)
