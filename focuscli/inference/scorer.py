"""What every backend offers to `focus predict`: texts and their thresholds, and scores of pixels. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from focuscli.data.texts import Text
from focuscli.engine.scoring import ScorePixels
from focuscli.inference.vocabulary import Vocabulary


class Scorer(ABC):
    """A trained model that scores crops against texts, whatever runs it.

    Attributes:
        folder: where it lies, as outputs name it.
        weights: where its initial weights came from, in words.
        vocabulary: the texts it knows, their regions and thresholds.
        image_size: (H, W) of its input.
    """

    folder: Path
    weights: str
    vocabulary: Vocabulary
    image_size: tuple[int, int]

    @abstractmethod
    def score_fn(self, texts: Sequence[Text]) -> ScorePixels:
        """Read the texts once, and return what scores pixels against them.

        Raises:
            UsageError: a text is empty, too long, or nothing that this model can be asked.
        """

    @property
    def default_texts(self) -> tuple[Text, ...]:
        """What crops are scored against where nothing is asked for."""
        return self.vocabulary.attributes

    def text(self, words: str, *, region: str | None = None) -> Text:
        """A text from words, see `Vocabulary.text`.

        Raises:
            UsageError: no word, or an unknown region.
        """
        return self.vocabulary.text(words, region=region)

    def region_source(self, text: Text) -> str:
        """How the region of a text came about, in words."""
        return self.vocabulary.region_source(text)

    def is_seen(self, text: Text) -> bool:
        """Whether a text of this phrase was trained; never, for CLIP as it is."""
        return self.vocabulary.is_seen(text)

    def threshold(self, text: Text) -> tuple[float, str]:
        """The threshold of a text and where it comes from, see `Vocabulary.threshold`."""
        return self.vocabulary.threshold(text)
