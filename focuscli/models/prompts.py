"""Region-specific learnable prompts: from the schema's texts to text features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.data.texts import Text
from focuscli.models.text_inputs import padded_ids, prompt_weights

CONTEXT_STD = 0.02


class PromptLearner(nn.Module):
    """Context vectors [Z, m, W] of the seen texts, m of its own for each; an unseen text takes the mean of its region.

    With `enabled=False` (ablation RLP off) a text is its plain phrase and there are no context vectors.
    """

    ids: Tensor
    """Token ids [Z, L] of the seen texts' sentences."""

    def __init__(self, texts: Sequence[Text], width: int, *, length: int, enabled: bool, context_length: int) -> None:
        """Start from random vectors.

        Args:
            width, context_length: of the text tower.
            length: m.

        Raises:
            UsageError: a text is empty or too long.
        """
        super().__init__()
        self.texts = tuple(texts)
        self.enabled = enabled
        self.length = length if enabled else 0
        self.context_length = context_length
        count = len(self.texts) if enabled else 0
        self.context = nn.Parameter(CONTEXT_STD * torch.randn(count, self.length, width))
        self.register_buffer("ids", self.text_ids(self.texts), persistent=False)

    def context_for(self, texts: Sequence[Text]) -> Tensor:
        """Context vectors [Z, m, W]: a seen text's own, else the mean of its `source_prompts`."""
        if tuple(texts) == self.texts:
            return self.context
        weights = torch.from_numpy(prompt_weights(texts, self.texts)).to(self.context)
        return torch.einsum("zs,smw->zmw", weights, self.context)

    def text_ids(self, texts: Sequence[Text]) -> Tensor:
        """Token ids [Z, L] of the sentences that follow the context vectors, zero-padded to the longest of them.

        Raises:
            UsageError: a text is empty, or with the learned context it is longer than the text tower's input.
        """
        sentences = [text.description if self.enabled else text.phrase for text in texts]
        return torch.from_numpy(padded_ids(texts, sentences, learned=self.length, context_length=self.context_length))


def encode_texts(clip: CLIP, prompts: PromptLearner, texts: Sequence[Text] | None = None) -> Tensor:
    """Text features T [Z, D]: [SOT] [V]_1..[V]_m description [EOT], taken at EOT and projected; None: of the seen texts.

    The text tower runs on the length of the longest of these texts, not on the full context (exact: it is causal).

    Raises:
        UsageError: a text is empty or has too many tokens.
    """
    ids = prompts.ids if texts is None else prompts.text_ids(texts).to(clip.device)
    eot_index = (ids != 0).sum(dim=1) - 1 + prompts.length
    words = clip.token_embedding(ids)  # [Z, L, W]
    if prompts.length:
        context = prompts.context_for(prompts.texts if texts is None else texts).to(words.dtype)
        words = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
    return clip.encode_text_embeddings(words, eot_index)
