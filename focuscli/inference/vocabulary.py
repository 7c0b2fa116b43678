"""Which texts a trained model knows, and what it assumes about others: region, category and threshold. Imports no torch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from focuscli.data.regions import Place, name_words, place_words
from focuscli.data.texts import Text, normalise_phrase
from focuscli.errors import UsageError


@dataclass(frozen=True)
class Vocabulary:
    """The texts of a trained model and their thresholds.

    Attributes:
        trained: the texts it was trained on: attributes, then complements; see `learned`.
        attributes: the evaluated attributes, in the schema's order.
        declared: every attribute of the schema, evaluated or not.
        thresholds: by attribute name, in the unit of the scores.
        learned: False for zero-shot CLIP, for which every text is unseen.
        unchosen: attributes that val has no positive or no negative of; their threshold is the one for all attributes.
    """

    trained: tuple[Text, ...]
    attributes: tuple[Text, ...]
    declared: tuple[Text, ...]
    regions: tuple[str, ...]
    thresholds: Mapping[str, float]
    learned: bool = True
    unchosen: tuple[str, ...] = ()

    def text(self, words: str, *, region: str | None = None) -> Text:
        """A text from words.

        An attribute's name or phrase, or a complement's phrase, gives that trained text. Other words give an unseen text,
        whose region is `region`, else that of a schema phrase that the words contain, else guessed from the words.

        Raises:
            UsageError: no word, or an unknown region.
        """
        if not words.strip():
            raise UsageError("A text is empty.", "Give each text at least one word.")
        if region is not None and region not in self.regions:
            raise UsageError(f'Unknown region "{region}".', f"Known: {', '.join(self.regions)}.")
        for seen in self.trained:
            if is_called(seen, words):
                return seen
        for attribute in self.declared:
            if is_called(attribute, words) and region is None:
                return attribute
        place = place_words(words, self.declared) if region is None else Place(region, "as given")
        of_region = [text.category for text in self.attributes if text.region == place.region] or ["person"]
        usual = max(set(of_region), key=lambda name: (of_region.count(name), name))
        category = place.like.category if place.like else usual
        return Text(phrase=" ".join(words.split()), region=place.region, category=category, group="")

    def check(self, words: str, *, option: str = "") -> None:
        """Refuse words that are hardly meant as one new text: a list, or a known text with a slip.

        A slip is another order, spacing or plural, or a word that is none of CLIP's own 24,000 and nearly one of the text's:
        "backpak" is, "skirt" for "shirt" is not.

        Args:
            option: what stands before each text on the command line, such as "-a ".

        Raises:
            UsageError: with the texts that are meant, and --free, which takes the words as they are.
        """
        known = [*self.trained, *self.declared]
        if any(is_called(text, words) for text in known):
            return
        parts = [part.strip() for part in re.split(r"[,;|\n]", words) if part.strip()]
        if len(parts) > 1:
            given = " ".join(option + shlex.quote(part) for part in parts)
            hint = f"Give them one by one: {given}; or take it as one text with --free."
            raise UsageError(f'"{words}" looks like a list of {len(parts)} texts.', hint)
        forms = {form: text.phrase for text in reversed(known) for form in (text.attribute or text.phrase, text.phrase)}
        if near := _near(words, [*forms]):
            raise UsageError(
                f'"{words}" is none of the known texts, but nearly one of them.',
                f'Did you mean "{forms[near]}"? To take the words as they are, add --free.',
            )

    def region_source(self, text: Text) -> str:
        """Where the region of a text comes from, in words."""
        if text in self.trained or text in self.declared:
            return "as declared in the schema"
        place = place_words(text.phrase, self.declared)
        return place.reason if place.region == text.region else "as given"

    def is_seen(self, text: Text) -> bool:
        """Whether a text of this phrase was trained; never for zero-shot CLIP."""
        phrases = {normalise_phrase(seen.phrase) for seen in self.trained}
        return self.learned and normalise_phrase(text.phrase) in phrases

    @property
    def fallback(self) -> str:
        """What the thresholds of `unchosen` attributes are."""
        return "median" if len(self.unchosen) == len(self.attributes) else "global"

    def threshold(self, text: Text) -> tuple[float, str]:
        """The threshold of a text and where it comes from.

        Its own: chosen on val ("val"), or where val lacks a class of it the one for all attributes ("global"), which is
        the median score if val lacks one of each ("median"). Without one the mean over the trained attributes of its
        region, or of all attributes if the region has none. NaN if there are no thresholds at all.
        """
        found = [(seen, self.thresholds.get(str(seen.attribute))) for seen in self.attributes]
        chosen = [(seen, value) for seen, value in found if value is not None]
        for seen, value in chosen:
            if normalise_phrase(seen.phrase) == normalise_phrase(text.phrase):
                return value, self.fallback if seen.attribute in self.unchosen else "val"
        region = [value for seen, value in chosen if seen.region == text.region]
        values = region or [*self.thresholds.values()]
        if not values:
            return math.nan, "none"
        return sum(value / len(values) for value in values), f"mean of {text.region}" if region else "mean of all"


def _near(words: str, known: Sequence[str]) -> str | None:
    """The known text that words are a slip of, see `Vocabulary.check`."""
    given = _stems(words)
    stems = {text: [*_stems(text).values()] for text in known}
    for text, others in stems.items():
        if sorted(given.values()) == sorted(others) or "".join(given.values()) == "".join(others):
            return text
    from clip_impl.tokenizer import END_OF_WORD, tables  # they take a moment to read

    common = {stem for word, stem in given.items() if not word.isalpha() or word + END_OF_WORD in tables()[0]}
    if common == {*given.values()}:
        return None
    possible = {" ".join(_stems(text)): text for text, others in stems.items() if common <= {*others}}
    return next((possible[form] for form in get_close_matches(" ".join(given), possible, n=1, cutoff=0.8)), None)


def _stems(words: str) -> dict[str, str]:
    """Each word of a text in lower case, and the same without the s or es of a plural."""
    found = [word.lower() for word in name_words(words)]
    return {word: re.sub(r"(?<=ss|sh|ch)es$|(?<=x)es$|(?<!s)s$", "", word) for word in found}


def is_called(text: Text, words: str) -> bool:
    """Whether words name a text: its phrase, or its attribute's name; letter case and spacing do not count."""
    wanted = normalise_phrase(words)
    return wanted in (normalise_phrase(text.phrase), (text.attribute or "").lower())
