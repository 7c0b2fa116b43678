"""What a method returns for a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """The image side of a method.

    Attributes:
        tokens: [B, K, D], the K tokens that texts are compared with (FOCUS: M_out; the class token alone with MGMT off).
        patch_attention: A [B, K, rows, columns], attention of each token over patches, averaged over heads and over the
            requested number of last layers; None if it was not requested. 0 where the mask hides a patch from a token.
    """

    tokens: Tensor
    patch_attention: Tensor | None = None


@dataclass(frozen=True)
class MethodOutput:
    """Scores and what they are computed from.

    Attributes:
        scores: [B, Z]; FOCUS: exp(logit_scale) * cos(V_z, T_z).
        attribute_features: V [B, Z, D].
        attention_maps: G [B, Z, K], how much each text attends to each token; rows sum to 1.
    """

    scores: Tensor
    attribute_features: Tensor
    attention_maps: Tensor
