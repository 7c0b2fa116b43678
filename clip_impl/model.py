"""CLIP: both towers and the temperature, with the parameter names of OpenAI's weight files.

The visual tower is a Vision Transformer that takes any image size, extra tokens and an attention mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_impl.config import EOT_ID, Activation, CLIPConfig, VisionConfig, check_image_size
from clip_impl.layers import LAYER_NORM_EPS, LayerNorm, Transformer


def resample_positional_embedding(embedding: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Resample the patch rows of a positional embedding to another grid; the class token's row is kept.

    Bicubic with antialiasing, as open_clip and timm do it (Hugging Face has none, which differs where a side shrinks).

    Args:
        embedding: [1 + rows * columns, W] for the `source` grid (rows, columns), in raster order.
        target: wanted grid (rows, columns).

    Returns:
        [1 + target rows * target columns, W], computed in fp32, in the dtype of `embedding`.
    """
    if source == target:
        return embedding
    class_row, patch_rows = embedding[:1], embedding[1:]
    image = patch_rows.float().reshape(1, *source, -1).permute(0, 3, 1, 2)
    with torch.autocast(embedding.device.type, enabled=False):
        image = F.interpolate(image, size=target, mode="bicubic", align_corners=False, antialias=True)
    resampled = image.permute(0, 2, 3, 1).reshape(target[0] * target[1], -1).to(embedding.dtype)
    return torch.cat([class_row, resampled])


@dataclass(frozen=True)
class OutputTokens:
    """The tokens of an image after the transformer, before `ln_post` and the projection.

    Attributes:
        tokens: [B, R, W], the first R of: extra tokens, class token, patches in raster order.
        grid: rows and columns of patches.
        attention: weights [B, heads, T, T] of the last layers asked for; those of the very last one are [B, heads, R, T].
    """

    tokens: Tensor
    grid: tuple[int, int]
    attention: list[Tensor]


class VisionTransformer(nn.Module):
    """Images [B, 3, H, W] (normalised) -> class-token features [B, E]; H and W are any multiples of the patch size."""

    def __init__(self, config: VisionConfig, embed_dim: int, activation: Activation) -> None:
        super().__init__()
        self.config = config
        width, (rows, columns) = config.width, config.grid
        self.conv1 = nn.Conv2d(3, width, kernel_size=config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + rows * columns, width))
        self.ln_pre = LayerNorm(width, eps=LAYER_NORM_EPS)
        self.transformer = Transformer(width, config.layers, config.heads, activation)
        self.ln_post = LayerNorm(width, eps=LAYER_NORM_EPS)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))
        for parameter in (self.class_embedding, self.positional_embedding, self.proj):
            nn.init.normal_(parameter, std=width**-0.5)
        self.transformer.initialize_parameters()

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.forward_features(images).tokens[:, 0])

    def forward_features(
        self,
        images: Tensor,
        prefix_tokens: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        attention_layers: int = 0,
        all_tokens: bool = False,
    ) -> OutputTokens:
        """Run the tower.

        Args:
            images: [B, 3, H, W].
            prefix_tokens: [P, W], put before the class token, after the positional embedding and before `ln_pre`.
            attention_mask: boolean [T, T] with T = P + 1 + S, True where the row may attend to the column.
            attention_layers: how many last layers to keep the attention weights of.
            all_tokens: return all T tokens. By default only the prefix tokens, or without any only the class token: the
                last layer computes no others.

        Raises:
            ValueError: H or W is not a multiple of the patch size.
        """
        check_image_size((images.shape[-2], images.shape[-1]), self.config.patch_size)
        patches = self.conv1(images.to(self.conv1.weight.dtype))
        batch, width, *grid = patches.shape
        patches = patches.flatten(2).mT  # [B, S, W]
        tokens = torch.cat([self.class_embedding.to(patches.dtype).expand(batch, 1, width), patches], dim=1)
        position = resample_positional_embedding(self.positional_embedding, self.config.grid, (grid[0], grid[1]))
        tokens = tokens + position.to(tokens.dtype)
        if prefix_tokens is not None:
            tokens = torch.cat([prefix_tokens.to(tokens.dtype).expand(batch, -1, -1), tokens], dim=1)
        first = slice(0, 1 if prefix_tokens is None else len(prefix_tokens))
        tokens, attention = self.transformer(
            self.ln_pre(tokens),
            attention_mask,
            output_tokens=None if all_tokens else first,
            attention_layers=attention_layers,
        )
        return OutputTokens(tokens, (grid[0], grid[1]), attention)

    def project(self, tokens: Tensor) -> Tensor:
        """[..., W] tokens of the tower -> [..., E] in the joint space: `ln_post`, then the projection."""
        return self.ln_post(tokens) @ self.proj


class CLIP(nn.Module):
    """Contrastive language-image model; a fresh instance has OpenAI's random initial values.

    `load_state_dict(strict=True)` of an OpenAI state dict needs no renaming.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        self.visual = VisionTransformer(config.vision, config.embed_dim, config.activation)
        self.transformer = Transformer(text.width, text.layers, text.heads, config.activation)
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.ln_final = LayerNorm(text.width, eps=LAYER_NORM_EPS)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=text.width**-0.5)
        self.transformer.initialize_parameters()

    @property
    def context_length(self) -> int:
        return self.config.text.context_length

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def encode_image(self, images: Tensor, *, normalize: bool = False) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> class-token features [B, E], of unit length with `normalize`."""
        features = self.visual(images)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, ids: Tensor, *, normalize: bool = False) -> Tensor:
        """Token ids [N, L] -> features [N, E], of unit length with `normalize`.

        The tower runs only on the longest real length: attention is causal, so what follows the last end-of-text token
        changes nothing.
        """
        eot_index = end_of_text_index(ids)
        if len(ids):
            ids = ids[:, : int(eot_index.max()) + 1]
        features = self.encode_text_embeddings(self.token_embedding(ids), eot_index)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        """Token embeddings [N, L, W] (without positions) -> features [N, E] read at `eot_index` [N].

        Learned prompts, which are embeddings without ids, enter here.

        Raises:
            ValueError: L is longer than the context.
        """
        length = embeddings.shape[1]
        if length > self.context_length:
            raise ValueError(f"{length} tokens are more than the context length {self.context_length}")
        dtype = self.visual.conv1.weight.dtype
        x = embeddings.to(dtype) + self.positional_embedding[:length].to(dtype)
        x, _ = self.transformer(x, causal=True)
        # LayerNorm works row by row: only the rows that are read need it.
        x = x[torch.arange(x.shape[0], device=x.device), eot_index]
        return self.ln_final(x) @ self.text_projection

    def forward(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity logits per image [B, N] and per text [N, B]: exp(logit_scale) times cosine."""
        image_features = self.encode_image(images, normalize=True)
        text_features = self.encode_text(ids, normalize=True)
        logits = self.logit_scale.exp() * image_features @ text_features.mT
        return logits, logits.mT


def end_of_text_index(ids: Tensor) -> Tensor:
    """Position of the first end-of-text token in each row of ids [N, L]; the largest id where there is none."""
    is_end = ids == EOT_ID
    return torch.where(is_end.any(dim=-1), is_end.int().argmax(dim=-1), ids.argmax(dim=-1))
