"""The projection behind `focus search --fast`: a few numbers per crop that predict the score against any text.

Around the mean tokens x0 of a gallery a score is nearly linear, s(x) = s(x0) + g . (x - x0), with g its gradient by all
K * D numbers of a crop. Storing c = E (x - x0) with R numbers allows the estimate s(x0) + (D g) . c for texts that are not
known yet. E and D minimise the squared error of g . (x - x0), averaged over a sample of crops and over gradients with the
second moment M = mean of g g^T over the trained texts + a multiple of the identity, which stands for all other texts.
With the centred sample X [n, K * D] and the largest R eigenvalues s^2 and eigenvectors U of X M X^T,

    E = sqrt(n) / s^2 U^T X M,     D = U^T X / sqrt(n).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focuscli.errors import InputError
from focuscli.storage.files import atomic_path
from focuscli.tools.gallery.folded import ScoreTokens
from focuscli.tools.gallery.store import RESUME

SIZE = 64
SAMPLE = 1024
BLOCK = 256
OTHER_TEXTS = 3.0  # weight of the identity in M, in units of the trained texts' mean second moment


@dataclass(frozen=True)
class Projection:
    """x0 [K, D], E and D [R, K * D], and how many crops they were fitted to."""

    mean: Tensor
    encode: Tensor
    decode: Tensor
    crops: int

    def project(self, tokens: NDArray[np.float16]) -> NDArray[np.float16]:
        """Tokens [n, K, D] -> c [n, R], of variance 1 over the sample that the projection was fitted to."""
        blocks = torch.from_numpy(tokens).split(BLOCK)
        return torch.cat([(block.float() - self.mean).flatten(1) @ self.encode.T for block in blocks]).half().numpy()

    def estimator(self, score: ScoreTokens, device: torch.device) -> ScoreTokens:
        """What estimates the scores [n, Z] of projected crops [n, R]."""
        at_mean, gradients = linearise(score, self.mean.to(device))
        weights = gradients @ self.decode.to(device).T
        return lambda codes: torch.addmm(at_mean, codes.float(), weights.T)

    def save(self, path: Path) -> None:
        """Write it as .npz, atomically."""
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, mean=self.mean, encode=self.encode, decode=self.decode, crops=self.crops)

    @classmethod
    def load(cls, path: Path) -> Projection:
        """Read it.

        Raises:
            InputError: missing or damaged.
        """
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                mean, encode, decode = (torch.from_numpy(arrays[name]) for name in ("mean", "encode", "decode"))
                crops = int(arrays["crops"])
            if encode.shape != decode.shape or encode.shape[1] != mean.numel():
                raise ValueError("shapes do not fit each other")
            return cls(mean, encode, decode, crops)
        except Exception as error:  # a damaged archive raises almost anything
            raise InputError(f"{path} is missing or damaged: {error}.", RESUME) from error


def linearise(score: ScoreTokens, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [Z] of one crop's tokens [K, D], and their gradients [Z, K * D]."""
    gradients = torch.autograd.functional.jacobian(lambda tokens: score(tokens[None])[0], mean)
    with torch.no_grad():
        return score(mean[None])[0], gradients.flatten(1)


def fit_projection(tokens: NDArray[np.float16], score: ScoreTokens, device: torch.device) -> Projection:
    """Fit to a sample of crops [n, K, D] and the gradients of the trained texts, which `score` scores."""
    sample = torch.from_numpy(tokens[:: -(-len(tokens) // SAMPLE)]).double()
    mean = sample.mean(dim=0)
    gradients = linearise(score, mean.to(device, torch.float32))[1].cpu().double()
    centred = (sample - mean).flatten(1)
    isotropic = OTHER_TEXTS * gradients.square().mean()
    weighted = (centred @ gradients.T) @ gradients / len(gradients) + isotropic * centred  # X M
    squares, vectors = torch.linalg.eigh(weighted @ centred.T)
    squares, vectors = squares[-SIZE:].clamp(min=1e-12 * float(squares[-1]) + 1e-30), vectors[:, -SIZE:]
    root = len(sample) ** 0.5
    encode = vectors.T @ weighted * (root / squares)[:, None]
    # Directions in which the sample does not vary carry nothing, and would amplify rounding.
    encode[squares <= 1e-10 * squares[-1]] = 0
    return Projection(mean.float(), encode.float(), (vectors.T @ centred / root).float(), len(sample))
