"""The two ways to score open-domain retrieval, and every decision in which they differ.

`corrected` (default) is what this project reports. `poar` computes what POAR's program computes, errors included, for
comparison with Table II of the FOCUS paper. docs/explanation/open-domain-protocols.md gives the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from focuscli.errors import UsageError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The decisions of a preset; the defaults are those of `corrected`.

    Attributes:
        candidates: texts and groups of the target's schema, or POAR's words (focuscli/evaluation/poar.toml).
        sentences: texts as the checkpoint's own template makes them, or POAR's. POAR tests with the words of its training:
            a text that the checkpoint was trained on is read as it was trained; any other as POAR's sentence, with the
            full stop that POAR adds at test only, or, with learned prompts, as POAR's word in the checkpoint's template.
        complements: truth of a text that stands for "none of these": its own label where there is one, and unknown where
            the others are; or simply "the others are not labelled 1", and in a group of two the first one's label decides.
        lost_labels: drop the positives that a misspelling in POAR's program drops.
        leaked_words: take the word "other" of one group as true in the other groups that have this word.
        recall_at_2: any positive within the top two, or POAR's "last positive".
        text_to_image: average precision and precision at k, or the share of words with a hit.
        beyond: also measure the attributes outside the evaluation (colours and extras).
        partition: PETA's partition as prepared, or the one that POAR uses.
    """

    name: str
    candidates: Literal["schema", "poar"] = "schema"
    sentences: Literal["own", "poar"] = "own"
    complements: Literal["own label", "rest"] = "own label"
    lost_labels: bool = False
    leaked_words: bool = False
    recall_at_2: Literal["any", "last positive"] = "any"
    text_to_image: Literal["ranking", "hit rate"] = "ranking"
    beyond: bool = True
    partition: Literal["prepared", "poar"] = "prepared"


CORRECTED = Protocol(name="corrected")
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
        raise UsageError(f'Unknown protocol "{name}".', did_you_mean(name, PROTOCOLS))
    return PROTOCOLS[name]
