"""VTB (Cheng et al., TCSVT 2022): attribute texts and image tokens fused by the tower's last block, then classifiers.

The fusion block is the visual tower's own last block and final norm, applied a second time, as in the paper's code. CLIP's
text features stand in for its sentence encoder; docs/explanation/fidelity.md says what else differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.config import ModelConfig
from focuscli.data.texts import Text
from focuscli.errors import UsageError
from focuscli.models.base import Criterion, ImageFeatures, Method, MethodOutput
from focuscli.models.losses import weighted_binary_cross_entropy
from focuscli.models.prompts import PromptLearner, encode_texts
from focuscli.models.text_inputs import TextInputs


class VtbCriterion(Criterion):
    """Binary cross-entropy in which rare labels weigh more."""

    names = ("bce",)
    inputs = ("scores",)

    def forward(self, output: MethodOutput, targets: Tensor, known: Tensor, progress: float) -> dict[str, Tensor]:
        bce = weighted_binary_cross_entropy(output.scores, targets, self.positive_rate, known)
        return {"bce": bce, "loss": bce}


class VtbModel(Method):
    """All trained texts and all image tokens of an image in one sequence; a text's place in it gives the text's logit.

    The K tokens of its attention maps are the patches themselves. Parameter names: `clip.*`, `word_embed.*`,
    `visual_embed.*`, `token_type`, `classifier_weight` [Z, W], `classifier_bias` [Z], `norm.*`.
    """

    criterion = VtbCriterion

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__(clip, config, texts)
        width, count = clip.config.vision.width, len(texts)
        self.word_embed = nn.Linear(clip.config.embed_dim, width)
        self.visual_embed = nn.Linear(width, width)
        self.token_type = nn.Parameter(torch.zeros(2, width))  # text, image
        self.classifier_weight = nn.Parameter(width**-0.5 * torch.randn(count, width))
        self.classifier_bias = nn.Parameter(torch.zeros(count))
        self.norm = nn.BatchNorm1d(count)
        self._prompts = PromptLearner(texts, 1, TextInputs("{phrase}", clip.context_length))

    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> all tokens of the tower after its final norm: class token, patches.

        Each patch is a token that attends to itself; how much a text attends to it is the fusion block's attention.
        """
        vision, grid = self.clip.visual, self.grid(images)
        tokens = vision.ln_post(vision.forward_features(images, all_tokens=True).tokens)
        attention = None
        if attention_layers:
            patches = grid[0] * grid[1]
            attention = torch.eye(patches, device=tokens.device).expand(len(tokens), -1, -1).unflatten(-1, grid)
        return ImageFeatures(tokens, attention)

    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """Rows [Z, A]: which of the A trained texts it is (1 there, else 0). All trained texts take part in every fusion,
        so that a score does not depend on the other texts of the query.

        Raises:
            UsageError: a text was not trained.
        """
        device = self.classifier_weight.device
        if texts is None:
            return torch.eye(len(self.texts), device=device)
        for text in texts:
            if text not in self.texts:
                raise UsageError(
                    f'Method vtb has one classifier per trained attribute; it cannot score "{text.phrase}".',
                    "Use attributes that it was trained on, or train --method focus.",
                )
        places = torch.tensor([self.texts.index(text) for text in texts], device=device)
        return F.one_hot(places, len(self.texts)).float()

    def score(self, tokens: Tensor, text_features: Tensor) -> MethodOutput:
        """Logits [B, Z] of the texts that the rows select, for tokens [B, 1 + S, W]."""
        vision, count = self.clip.visual, len(self.texts)
        words = encode_texts(self.clip, self._prompts)
        words = self.word_embed(words) + self.token_type[0]
        seen = self.visual_embed(tokens) + self.token_type[1]
        sequence = torch.cat([words.to(seen.dtype).expand(tokens.shape[0], -1, -1), seen], dim=1)
        fused, weights = vision.transformer.resblocks[-1](sequence, need_weights=not self.training)
        features = vision.ln_post(fused[:, :count])  # [B, A, W]
        logits = self.norm((features.float() * self.classifier_weight).sum(dim=-1) + self.classifier_bias)
        rows = text_features.to(logits.dtype)
        maps = tokens.new_zeros(tokens.shape[0], len(rows), 0)
        if weights is not None:
            to_patches = weights[:, :, :count, count + 1 :].float().mean(dim=1)  # [B, A, S]
            maps = rows.to(to_patches) @ (to_patches / to_patches.sum(dim=-1, keepdim=True))
        return MethodOutput(logits @ rows.T, rows.to(features.dtype) @ features, maps, tokens)

    def freeze(self, *, text_tower: bool) -> None:
        """As for all methods, and the projection of the visual tower, which is not used."""
        super().freeze(text_tower=text_tower)
        self.clip.visual.proj.requires_grad_(False)
