"""Which texts a trained model knows, and what it assumes about others: region, category and threshold. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from focuscli.data.regions import Place, place_words
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
    """

    trained: tuple[Text, ...]
    attributes: tuple[Text, ...]
    declared: tuple[Text, ...]
    regions: tuple[str, ...]
    thresholds: Mapping[str, float]
    learned: bool = True

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

    def threshold(self, text: Text) -> tuple[float, str]:
        """The threshold of a text and where it comes from.

        Its own, chosen on val; without one the mean over the trained attributes of its region, or of all attributes if
        the region has none. NaN if there are no thresholds at all.
        """
        found = [(seen, self.thresholds.get(str(seen.attribute))) for seen in self.attributes]
        chosen = [(seen, value) for seen, value in found if value is not None]
        for seen, value in chosen:
            if normalise_phrase(seen.phrase) == normalise_phrase(text.phrase):
                return value, "val"
        region = [value for seen, value in chosen if seen.region == text.region]
        values = region or [*self.thresholds.values()]
        if not values:
            return math.nan, "none"
        return sum(value / len(values) for value in values), f"mean of {text.region}" if region else "mean of all"


def is_called(text: Text, words: str) -> bool:
    """Whether words name a text: its phrase, or its attribute's name; letter case and spacing do not count."""
    wanted = normalise_phrase(words)
    return wanted in (normalise_phrase(text.phrase), (text.attribute or "").lower())
