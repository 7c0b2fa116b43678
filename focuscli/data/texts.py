"""A text that images are compared with, as a plain value: prediction with an exported model needs nothing more."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIPTION = "a {region} feature of {category} is {phrase}."
"""The template of FOCUS's region-specific prompts; the paper's example is "a upper feature of clothes is T-shirt."."""


@dataclass(frozen=True)
class Text:
    """A text that the model compares with images.

    Attributes:
        phrase, region, category: the parts of the description.
        group: retrieval picks one text out of those of the same group.
        subregion: finer region, for `whole` only.
        attribute: the attribute's name; None for a complement of the group ("none of these") and for free text.
    """

    phrase: str
    region: str
    category: str
    group: str
    subregion: str | None = None
    attribute: str | None = None

    @property
    def description(self) -> str:
        """The sentence that follows the learned prompt."""
        return DESCRIPTION.format(region=self.region, category=self.category, phrase=self.phrase)


def normalise_phrase(phrase: str) -> str:
    """A phrase as CLIP's tokenizer sees it: lower case, white space collapsed. Equal results are the same text."""
    return " ".join(phrase.lower().split())
