"""POAR (Zhang et al., ACM MM 2023): one token per group of attributes, each behind a fixed mask of patch rows.

Masks and loss follow the paper's code; docs/explanation/fidelity.md says what differs (no distillation teacher, CLIP's
positional embedding kept, one sentence per category in place of templates per dataset, no attention dropout).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl import CLIP
from focuscli.config import ModelConfig
from focuscli.data.texts import Text
from focuscli.models.base import Criterion, ImageFeatures, Method, MethodOutput, mean_patch_attention
from focuscli.models.losses import grouped_many_to_many_loss
from focuscli.models.prompts import PromptLearner, encode_texts
from focuscli.models.text_inputs import TextInputs

ROWS_OF_REGION = {"head": (0, 6), "upper": (0, 10), "lower": (4, 14), "foot": (10, 14), "bag": (4, 12)}
"""First and last (exclusive) of 14 patch rows that a region's token attends to; any other region: all rows."""
ROWS_OF_GROUP = {"accessory": (0, 12)}
"""Groups whose rows differ from their region's: accessories are hats, but scarves too."""
_GRID_ROWS = 14

TEMPLATES = {
    **dict.fromkeys(
        ("clothes", "footwear", "shoes", "sleeve", "pattern", "colour"), "This person is wearing {phrase}."
    ),
    **dict.fromkeys(("luggage", "carrying", "bag"), "This person is carrying {phrase}."),
    "accessory": "This person is accessorying {phrase}.",
    "hair": "This person has {phrase}.",
}
"""POAR's sentences by category; any other category: "This person is {phrase}."."""


class PoarCriterion(Criterion):
    """The many-to-many loss in both directions; as in POAR's code only texts that are true of some image of the batch are
    candidates."""

    names = ("v2t", "t2v")
    inputs = ("scores",)

    def forward(self, output: MethodOutput, targets: Tensor, known: Tensor, progress: float) -> dict[str, Tensor]:
        present = ((targets > 0.5) & known).any(dim=0, keepdim=True)
        v2t, t2v = grouped_many_to_many_loss(output.scores, targets, self.groups, known & present)
        return {"v2t": v2t, "t2v": t2v, "loss": self.weights.v2t * v2t + self.weights.t2v * t2v}


class PoarModel(Method):
    """Region tokens attend to the patches of their rows; a text is compared with the token of its group.

    Parameter names: `clip.*` and `tokens` [K, W].
    """

    criterion = PoarCriterion

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__(clip, config, texts)
        self.groups = self.token_names = list(dict.fromkeys(text.group for text in texts))
        regions = {group: Counter(text.region for text in texts if text.group == group) for group in self.groups}
        self.regions = tuple(counts.most_common(1)[0][0] for counts in regions.values())
        pairs = zip(self.groups, self.regions, strict=True)
        self.bands = [ROWS_OF_GROUP.get(group, ROWS_OF_REGION.get(region, (0, _GRID_ROWS))) for group, region in pairs]
        width = clip.config.vision.width
        self.tokens = nn.Parameter(width**-0.5 * torch.randn(len(self.groups), width))
        # The token of a text is that of its group; for a text of no trained group that of the first group of its region;
        # where the region was not trained either, the first token that attends to all rows, else token 0.
        whole = [number for number, region in enumerate(self.regions) if region not in ROWS_OF_REGION]
        inputs = TextInputs(
            "This person is {phrase}.",
            clip.context_length,
            by_category=TEMPLATES,
            rows="tokens",
            token_of_group={group: number for number, group in enumerate(self.groups)},
            token_of_region={region: self.regions.index(region) for region in self.regions},
            other_token=whole[0] if whole else 0,
            tokens=len(self.groups),
        )
        self._prompts = PromptLearner(texts, 1, inputs)

    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> one feature per group [B, K, D]."""
        vision, grid = self.clip.visual, self.grid(images)
        mask = region_mask(self.bands, grid, images.device)
        output = vision.forward_features(images, self.tokens, mask, attention_layers=attention_layers)
        attention = mean_patch_attention(output.attention, len(self.groups), grid)
        return ImageFeatures(vision.project(output.tokens), attention)

    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """Rows [Z, D + K]: the text's feature, then which token it is compared with (1 there, else 0)."""
        features = encode_texts(self.clip, self._prompts, texts)
        places = self._prompts.inputs.extra(self.texts if texts is None else texts, self.texts)
        return torch.cat([features, torch.as_tensor(places).to(features)], dim=1)

    def score(self, tokens: Tensor, text_features: Tensor) -> MethodOutput:
        """exp(logit_scale) * cos between a text and the token of its group."""
        count = len(self.groups)
        texts, places = text_features[:, :-count], text_features[:, -count:]
        features = places.to(tokens.dtype) @ tokens  # [B, Z, D]
        cosine = (F.normalize(features.float(), dim=-1) * F.normalize(texts.float(), dim=-1)).sum(dim=-1)
        maps = places.expand(tokens.shape[0], -1, -1)
        return MethodOutput(self.clip.logit_scale.exp() * cosine, features, maps, tokens)


def region_mask(bands: Sequence[tuple[int, int]], grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """The attention mask, boolean [T, T], of K tokens, the class token and S patches: rows attend to columns where True.

    A token attends to itself and to the patches of its band (scaled from 14 rows to the grid's, rounded outwards); patches
    attend to patches. No other token attends to a region token or to the class token, which POAR does not have.
    """
    rows, columns = grid
    count = len(bands)
    first = count + 1
    length = first + rows * columns
    mask = torch.eye(length, dtype=torch.bool, device=device)
    mask[count:, first:] = True
    for token, (low, high) in enumerate(bands):
        start, stop = math.floor(low * rows / _GRID_ROWS), math.ceil(high * rows / _GRID_ROWS)
        mask[token, first + start * columns : first + stop * columns] = True
    return mask
