"""Multi-Granularity Mix Tokens: learnable tokens and the mask by which they attend to patches only (Eq. 2, 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixTokens(nn.Module):
    """K = global + local learnable tokens [K, W], added to the patch stream as prefix tokens.

    Initial value [choice]: class embedding + its positional embedding + Gaussian noise, so that an untrained Mix Token
    sees the image much as CLIP's class token does.
    """

    def __init__(self, count: int, start: Tensor, noise: float) -> None:
        super().__init__()
        start = start.detach().expand(count, -1)
        self.tokens = nn.Parameter(start + noise * torch.randn(start.shape))


def mix_attention_mask(
    num_global: int, num_local: int, partitions: int, patches: int, device: torch.device | None = None
) -> Tensor:
    """Which token attends to which: boolean [T, T], T = K + 1 + S, rows attend to columns where True.

    Order of the tokens: K_g global and K_l local Mix Tokens, the class token, S patches in raster order. A global token
    attends to all patches (Eq. 2), a local token to those of its subset, one of r contiguous equal parts (Eq. 3). The class
    token and the patches attend to each other as in plain CLIP, and no token attends to a Mix Token.

    Raises:
        ValueError: S does not divide by r, or K_l does not.
    """
    if patches % partitions or num_local % partitions:
        raise ValueError(f"{patches} patches and {num_local} local tokens must both divide by {partitions} subsets")
    count = num_global + num_local
    length = count + 1 + patches
    mask = torch.zeros(length, length, dtype=torch.bool, device=device)
    mask[count:, count:] = True
    mask[:num_global, count + 1 :] = True
    size = patches // partitions
    for token in range(num_local):
        start = count + 1 + token // (num_local // partitions) * size
        mask[num_global + token, start : start + size] = True
    return mask
