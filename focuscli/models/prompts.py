"""Region-specific learnable prompts: from the schema's texts to text features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.data.texts import Text
from focuscli.models.text_inputs import TextInputs, prompt_weights

CONTEXT_STD = 0.02


class PromptLearner(nn.Module):
    """Context vectors [Z, m, W] of the seen texts, m of its own for each; an unseen text takes the mean of its region.

    Where `inputs.learned` is 0 (ablation RLP off, and other methods) there are none.
    """

    ids: Tensor
    """Token ids [Z, L] of the seen texts' sentences."""

    def __init__(self, texts: Sequence[Text], width: int, inputs: TextInputs) -> None:
        """Start from random vectors of the text tower's `width`.

        Raises:
            UsageError: a text is empty or too long.
        """
        super().__init__()
        self.texts = tuple(texts)
        self.inputs = inputs
        count = len(self.texts) if inputs.learned else 0
        self.context = nn.Parameter(CONTEXT_STD * torch.randn(count, inputs.learned, width))
        self.register_buffer("ids", torch.from_numpy(inputs.ids(self.texts)), persistent=False)

    def context_for(self, texts: Sequence[Text]) -> Tensor:
        """Context vectors [Z, m, W]: a seen text's own, else the mean of its `source_prompts`."""
        if tuple(texts) == self.texts:
            return self.context
        weights = torch.from_numpy(prompt_weights(texts, self.texts)).to(self.context)
        return torch.einsum("zs,smw->zmw", weights, self.context)


def encode_texts(clip: CLIP, prompts: PromptLearner, texts: Sequence[Text] | None = None) -> Tensor:
    """Text features T [Z, D]: [SOT] [V]_1..[V]_m sentence [EOT], taken at EOT and projected; None: of the seen texts.

    The text tower runs on the length of the longest of these texts, not on the full context (exact: it is causal).

    Raises:
        UsageError: a text is empty or has too many tokens.
    """
    ids = prompts.ids if texts is None else torch.from_numpy(prompts.inputs.ids(texts)).to(clip.device)
    eot_index = (ids != 0).sum(dim=1) - 1 + prompts.inputs.learned
    words = clip.token_embedding(ids)  # [Z, L, W]
    if prompts.inputs.learned:
        context = prompts.context_for(prompts.texts if texts is None else texts).to(words.dtype)
        words = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
    return clip.encode_text_embeddings(words, eot_index)
