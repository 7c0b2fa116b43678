"""FOCUS: CLIP with Mix Tokens, learnable prompts and attribute-guided cross-attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from clip_impl import CLIP
from focuscli.config import ModelConfig
from focuscli.data.texts import DESCRIPTION, Text, normalise_phrase
from focuscli.models.base import Criterion, ImageFeatures, Method, MethodOutput, mean_patch_attention
from focuscli.models.cross_attention import AttributeCrossAttention
from focuscli.models.losses import grouped_many_to_many_loss, mix_diversity_loss, region_contrastive_loss
from focuscli.models.mix_tokens import MixTokens, mix_attention_mask
from focuscli.models.prompts import PromptLearner, encode_texts
from focuscli.models.text_inputs import TextInputs, source_prompts


class FocusCriterion(Criterion):
    """L_v2t, L_t2v, L_sim and L_racl (Eq. 8); a similarity loss whose weight is 0 is not computed."""

    names = ("v2t", "t2v", "lsim", "racl")
    inputs = ("scores", "attention_maps", "tokens")

    def forward(self, output: MethodOutput, targets: Tensor, known: Tensor, progress: float) -> dict[str, Tensor]:
        weights = self.weights
        v2t, t2v = grouped_many_to_many_loss(output.scores, targets, self.groups, known)
        lsim, racl = v2t.new_zeros(()), v2t.new_zeros(())
        if weights.lsim:
            lsim = mix_diversity_loss(output.tokens, eps=weights.eps)
        if weights.racl:
            maps = output.attention_maps.mean(dim=0) if weights.racl_over == "batch" else output.attention_maps
            racl = region_contrastive_loss(maps, self.blocks, eps=weights.eps)
        ramp = min(1.0, progress / weights.racl_ramp) if weights.racl_ramp else 1.0
        total = weights.v2t * v2t + weights.t2v * t2v + weights.lsim * lsim + ramp * weights.racl * racl
        return {"v2t": v2t, "t2v": t2v, "lsim": lsim, "racl": racl, "loss": total}


class FocusModel(Method):
    """From images and texts to scores; see the paper's Fig. 2.

    Parameter names are the contract of the checkpoints: `clip.*` (OpenAI's names), `mix_tokens.tokens`,
    `prompts.context`, `avfe.{query,key,value,out}.*`.
    """

    criterion = FocusCriterion

    def __init__(self, clip: CLIP, config: ModelConfig, texts: Sequence[Text]) -> None:
        super().__init__(clip, config, texts)
        vision = clip.visual
        self.mix_tokens: MixTokens | None = None
        self.token_names = ["class token"]
        if config.mgmt:
            start = vision.class_embedding + vision.positional_embedding[0]
            self.mix_tokens = MixTokens(config.global_tokens + config.local_tokens, start, config.mix_init_noise)
            self.token_names = [f"global {number + 1}" for number in range(config.global_tokens)]
            self.token_names += [f"local {number + 1}" for number in range(config.local_tokens)]
        inputs = TextInputs("{phrase}", clip.context_length)
        if config.rlp:
            inputs = TextInputs(DESCRIPTION, clip.context_length, learned=config.prompt_length, rows="prompts")
        self.prompts = PromptLearner(texts, clip.config.text.width, inputs)
        self.avfe: AttributeCrossAttention | None = None
        if config.avfe:
            self.avfe = AttributeCrossAttention(clip.config.embed_dim, config.attention_heads, config.avfe_init)

    def encode_image(self, images: Tensor, *, attention_layers: int = 0) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] -> Mix Token features, and their attention over patches where requested."""
        vision, grid = self.clip.visual, self.grid(images)
        prefix = mask = None
        if self.mix_tokens is not None:
            prefix = self.mix_tokens.tokens
            subsets = self.config.global_tokens, self.config.local_tokens, self.config.partitions
            mask = mix_attention_mask(*subsets, grid[0] * grid[1], images.device)
        output = vision.forward_features(images, prefix, mask, attention_layers=attention_layers)
        attention = mean_patch_attention(output.attention, output.tokens.shape[1], grid)
        return ImageFeatures(vision.project(output.tokens), attention)

    def encode_texts(self, texts: Sequence[Text] | None = None) -> Tensor:
        """Text features T [Z, D]; without an argument those of the training texts."""
        return encode_texts(self.clip, self.prompts, texts)

    def prompt_source(self, text: Text) -> str:
        """Its own, the mean over the region's attributes, or none."""
        if not self.prompts.inputs.learned:
            return super().prompt_source(text)
        if normalise_phrase(text.phrase) in {normalise_phrase(seen.phrase) for seen in self.texts}:
            return "its own"
        regions = [self.texts[index].region for index in source_prompts(self.texts, text.region)]
        where = text.region if text.region in regions else "all, region unseen"
        return f"mean of {len(regions)} ({where})"

    def score(self, tokens: Tensor, text_features: Tensor) -> MethodOutput:
        """Scores of M_out [B, K, D] against T [Z, D]: exp(logit_scale) * cos(V_z, T_z)."""
        if self.avfe is None:
            batch, count, _ = tokens.shape
            features = tokens.mean(dim=1, keepdim=True).expand(-1, text_features.shape[0], -1)
            maps = tokens.new_full((batch, text_features.shape[0], count), 1 / count)
        else:
            features, maps = self.avfe(text_features, tokens)
        cosine = (F.normalize(features.float(), dim=-1) * F.normalize(text_features.float(), dim=-1)).sum(dim=-1)
        return MethodOutput(self.clip.logit_scale.exp() * cosine, features, maps, tokens)
