"""A text that images are compared with, as a plain value: predicting needs no schema file and nothing that parses one."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIPTION = "a {region} feature of {category} is {phrase}."
"""The template of FOCUS's region-specific prompts; "a upper feature of clothes is T-shirt." is its example."""


@dataclass(frozen=True)
class Text:
    """A text that the model compares with images.

    Attributes:
        phrase, region, category: the parts of the description.
        group: the candidates among which one text is looked for in retrieval.
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
        """What FOCUS reads after the learned prompt."""
        return DESCRIPTION.format(region=self.region, category=self.category, phrase=self.phrase)


def normalise_phrase(phrase: str) -> str:
    """A phrase as CLIP's tokenizer takes it: lower case, white space collapsed. What is equal then is the same text."""
    return " ".join(phrase.lower().split())
