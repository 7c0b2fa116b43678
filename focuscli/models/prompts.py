"""Region-specific learnable prompts: from the schema's texts to text features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.data.texts import Text, normalise_phrase
from focuscli.models.text_inputs import prompt_weights, sentence_ids, source_prompts

CONTEXT_STD = 0.02


class PromptLearner(nn.Module):
    """Context vectors [Z, m, W] of the seen texts, m of its own for each; an unseen text takes the mean of its region.

    With `enabled=False` (ablation RLP off) a text is its plain phrase and there are no context vectors.
    """

    def __init__(self, texts: Sequence[Text], width: int, *, length: int, enabled: bool) -> None:
        super().__init__()
        self.texts = tuple(texts)
        self.enabled = enabled
        self.length = length if enabled else 0
        count = len(self.texts) if enabled else 0
        self.context = nn.Parameter(CONTEXT_STD * torch.randn(count, self.length, width))

    def is_seen(self, phrase: str) -> bool:
        """Whether a training text has this phrase; letter case and spacing do not count."""
        return normalise_phrase(phrase) in {normalise_phrase(text.phrase) for text in self.texts}

    def context_for(self, texts: Sequence[Text]) -> Tensor:
        """Context vectors [Z, m, W]: a seen text's own, else the mean of its `source_prompts`."""
        if tuple(texts) == self.texts:
            return self.context
        weights = torch.from_numpy(prompt_weights(texts, self.texts)).to(self.context)
        return torch.einsum("zs,smw->zmw", weights, self.context)

    def source_prompts(self, region: str) -> list[int]:
        """The seen attributes whose context vectors an unseen text of this region averages."""
        return source_prompts(self.texts, region)

    def sentence(self, text: Text) -> str:
        """The words that follow the context vectors."""
        return text.description if self.enabled else text.phrase


def encode_texts(clip: CLIP, prompts: PromptLearner, texts: Sequence[Text], ids: Tensor | None = None) -> Tensor:
    """Text features T [Z, D]: [SOT] [V]_1..[V]_m description [EOT], taken at EOT and projected.

    The text tower runs on the length of the longest of these texts, not on the full context (exact: it is causal).

    Args:
        ids: `text_ids(...)` of the same texts, where the caller has them.

    Raises:
        UsageError: a text is empty or has too many tokens.
    """
    if ids is None:
        ids = text_ids(prompts, texts, clip.context_length).to(clip.device)
    eot_index = (ids != 0).sum(dim=1) - 1 + prompts.length
    words = clip.token_embedding(ids)  # [Z, L, W]
    if prompts.length:
        context = prompts.context_for(texts).to(words.dtype)
        words = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
    return clip.encode_text_embeddings(words, eot_index)


def text_ids(prompts: PromptLearner, texts: Sequence[Text], context_length: int) -> Tensor:
    """Token ids [Z, L] of the sentences, zero-padded to the longest of them.

    Raises:
        UsageError: a text is empty, or with the learned context it is longer than the text tower's input.
    """
    sentences = [prompts.sentence(text) for text in texts]
    rows = sentence_ids(texts, sentences, learned=prompts.length, context_length=context_length)
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
