"""Where on the body a free text belongs, and how that was decided: the region chooses whose prompts it borrows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from focuscli.data.guess import guess_place, name_words
from focuscli.data.texts import Text


@dataclass(frozen=True)
class Place:
    """A region with its reason in words, and the text of the schema that it was taken from, if any."""

    region: str
    reason: str
    like: Text | None = None


def place_words(words: str, known: Iterable[Text]) -> Place:
    """The region of a free text, by the first of these rules that applies.

    1. A phrase of the schema stands in it, its words side by side and in order ("red backpack" holds "backpack"). Of
       several the one of most words wins, then the one that stands last in the text, because English nouns do; then the
       schema's order.
    2. A word that `focuscli.data.guess` knows (boots belong to the feet).
    3. The whole body.
    """
    said = _words(words)
    best, found = (0, -1), None
    for text in known:
        phrase = _words(text.phrase)
        rank = (len(phrase), _last_start(phrase, said))
        if rank[1] >= 0 and rank > best:
            best, found = rank, text
    if found is not None:
        return Place(found.region, f'as "{found.phrase}" of the schema', found)
    region = guess_place(words)[0]
    return Place(region, "guessed from its words" if region != "whole" else "no known word")


def _words(phrase: str) -> list[str]:
    return [word.lower() for word in name_words(phrase)]


def _last_start(phrase: list[str], said: list[str]) -> int:
    """Where a phrase stands last among the words; -1 if nowhere."""
    if not phrase:
        return -1
    starts = range(len(said) - len(phrase), -1, -1)
    return next((start for start in starts if said[start : start + len(phrase)] == phrase), -1)
