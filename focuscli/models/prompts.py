"""Region-specific learnable prompts: from the schema's texts to text features (spec section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.data.schema import Text, normalise_phrase
from focuscli.models.text_inputs import sentence_ids, source_prompts

CONTEXT_STD = 0.02


class PromptLearner(nn.Module):
    """Context vectors [Z, m, W] of the seen texts, one set of m per text; for an unseen text the mean of its region.

    With `enabled=False` (ablation RLP off) a text is its plain phrase and there are no context vectors.
    """

    def __init__(self, texts: Sequence[Text], width: int, *, length: int, enabled: bool) -> None:
        super().__init__()
        self.texts = tuple(texts)
        self.enabled = enabled
        self.length = length if enabled else 0
        self._seen = {normalise_phrase(text.phrase): index for index, text in enumerate(self.texts)}
        count = len(self.texts) if enabled else 0
        self.context = nn.Parameter(CONTEXT_STD * torch.randn(count, self.length, width))

    def seen_index(self, phrase: str) -> int | None:
        """Position of a seen text with this phrase (letter case and spacing do not count), or None."""
        return self._seen.get(normalise_phrase(phrase))

    def context_for(self, texts: Sequence[Text]) -> Tensor:
        """Context vectors [Z, m, W]: a seen text's own; else the mean over seen attributes of the same region; else of
        all seen attributes [choice]."""
        if [*texts] == [*self.texts]:
            return self.context
        return torch.stack([self._context_of(text) for text in texts])

    def _context_of(self, text: Text) -> Tensor:
        index = self.seen_index(text.phrase)
        if index is not None:
            return self.context[index]
        return self.context[self.source_prompts(text.region)].mean(dim=0)

    def source_prompts(self, region: str) -> list[int]:
        """The seen attributes whose context vectors an unseen text of this region averages."""
        return source_prompts(self.texts, region)

    def sentence(self, text: Text) -> str:
        """What the text tower reads after the context vectors."""
        return text.description if self.enabled else text.phrase


def encode_texts(clip: CLIP, prompts: PromptLearner, texts: Sequence[Text], ids: Tensor | None = None) -> Tensor:
    """Text features T [Z, D]: [SOT] [V]_1..[V]_m description [EOT], read at EOT and projected.

    The text tower runs on the longest real length of these texts, not on the full context (exact: it is causal).

    Args:
        ids: `text_ids(...)` of the same texts, where the caller keeps them.

    Raises:
        UsageError: a text has too many tokens.
    """
    if ids is None:
        ids = text_ids(prompts, texts, clip.context_length)
    ids = ids.to(clip.token_embedding.weight.device)
    eot_index = (ids != 0).sum(dim=1) - 1 + prompts.length
    words = clip.token_embedding(ids)  # [Z, L, W]
    if prompts.length:
        context = prompts.context_for(texts).to(words.dtype)
        words = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
    return clip.encode_text_embeddings(words, eot_index)


def text_ids(prompts: PromptLearner, texts: Sequence[Text], context_length: int) -> Tensor:
    """Token ids [Z, L] of the sentences, zero-padded to the longest of them only.

    Raises:
        UsageError: a text is empty, or with the learned context it is longer than the text tower reads.
    """
    sentences = [prompts.sentence(text) for text in texts]
    rows = sentence_ids(texts, sentences, learned=prompts.length, context_length=context_length)
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
