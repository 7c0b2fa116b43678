"""How texts become the inputs of a text tower: sentences, token ids and prompt weights. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text, normalise_phrase
from focuscli.errors import UsageError


@dataclass(frozen=True)
class TextInputs:
    """How a method makes the inputs of its text tower, as values that the file of an exported model can hold.

    Attributes:
        sentence: a template of {phrase}, {region} and {category}.
        by_category: templates of some categories, in place of `sentence`.
        learned: learned prompt vectors between the start token and the words.
        context_length: tokens of the tower's input, the learned ones included.
        rows: the second input for each text: the weights of the learned prompts ("prompts": [Z, texts seen in training],
            see `prompt_weights`), the token it is compared with ("tokens": [Z, K]), or none.
        token_of_group, token_of_region, other_token: that token, by the first of these that applies.
        tokens: K, the number of tokens.
    """

    sentence: str
    context_length: int
    learned: int = 0
    by_category: Mapping[str, str] = field(default_factory=dict)
    rows: Literal["prompts", "tokens", "none"] = "none"
    token_of_group: Mapping[str, int] = field(default_factory=dict)
    token_of_region: Mapping[str, int] = field(default_factory=dict)
    other_token: int = 0
    tokens: int = 0

    def ids(self, texts: Sequence[Text]) -> NDArray[np.int64]:
        """Token ids [Z, L], zero-padded to the longest text.

        Raises:
            UsageError: a text is empty or too long.
        """
        from clip_impl.tokenizer import token_ids  # its tables take 0.1 s to load

        rows = []
        for number, text in enumerate(texts, start=1):
            if not text.phrase.strip():
                raise UsageError(f"Text {number} is empty.", "Give each text at least one word.")
            template = self.by_category.get(text.category, self.sentence)
            rows.append(token_ids(template.format(phrase=text.phrase, region=text.region, category=text.category)))
            length = len(rows[-1]) + self.learned
            if length > self.context_length:
                taken = f" ({self.learned} are taken by the learned prompt)" if self.learned else ""
                raise UsageError(
                    f"Text {number} has {length} tokens; CLIP reads {self.context_length}{taken}.",
                    f'Shorten: "{text.phrase[:40]}..."',
                )
        ids = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=np.int64)
        for padded, row in zip(ids, rows, strict=True):
            padded[: len(row)] = row
        return ids

    def extra(self, texts: Sequence[Text], seen: Sequence[Text]) -> NDArray[np.float32] | None:
        """The second input of the tower for these texts, see `rows`; `seen` are the training texts."""
        if self.rows == "prompts":
            return prompt_weights(texts, seen)
        if self.rows == "tokens":
            other = [self.token_of_region.get(text.region, self.other_token) for text in texts]
            tokens = [self.token_of_group.get(text.group, token) for text, token in zip(texts, other, strict=True)]
            return np.eye(self.tokens, dtype=np.float32)[tokens]
        return None


def source_prompts(seen: Sequence[Text], region: str) -> list[int]:
    """The seen attributes whose learned prompts an unseen text of this region averages: those of the region, or all."""
    attributes = [index for index, text in enumerate(seen) if text.attribute is not None]
    return [index for index in attributes if seen[index].region == region] or attributes


def prompt_weights(texts: Sequence[Text], seen: Sequence[Text]) -> NDArray[np.float32]:
    """The weight of each seen text's learned prompt in the prompt of each text, [Z, seen], rows sum to 1: a text of a seen
    phrase takes its own, any other the mean of its `source_prompts`."""
    places = {normalise_phrase(text.phrase): index for index, text in enumerate(seen)}
    weights = np.zeros((len(texts), len(seen)), dtype=np.float32)
    for row, text in zip(weights, texts, strict=True):
        place = places.get(normalise_phrase(text.phrase))
        chosen = source_prompts(seen, text.region) if place is None else [place]
        row[chosen] = 1 / len(chosen)
    return weights
