"""What is stored beside the tokens to find candidates quickly and to enclose norms; derived, so it can be made again.

- **Codes** [n, K, R] int8: each token in R directions, those in which the trained texts' folded keys and values tell
  tokens apart best. With m = mean_k + decode c + rest, |rest . f|^2 is least over folded texts f when the directions are
  the leading eigenvectors of L^T C L, where C is the tokens' covariance and L L^T = the folded texts' second moment plus
  its mean eigenvalue (so that texts nobody trained count too).
- **Norms** [n, K, H]: |z_hk|^2 of the heads' values, **floors** [n, K, H]: min_j (z_hk . z_hj); `folded` says of what use.

A mean token does not do as a filter: the diversity loss makes a trained model's Mix Tokens orthogonal, and its texts
look at one of them each (examples/benchmarks/NOTES.md has the recall of both).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from focuscli.errors import InputError
from focuscli.files import atomic_path
from focuscli.gallery.folded import FoldedAttention, FoldedTexts

BLOCK = 512
CLIPPED = 5.0  # Standard deviations beyond which a code is cut off.


@dataclass(frozen=True)
class Basis:
    """How tokens become codes.

    Attributes:
        mean: of each token [K, D]. encode: [D, R], a code is round((m - mean) . encode). decode: [R, D], its inverse.
        unit: what norms and floors are divided by, so that they fit half precision.
    """

    mean: Tensor
    encode: Tensor
    decode: Tensor
    unit: Tensor

    @property
    def size(self) -> int:
        return self.encode.shape[1]

    def save(self, path: Path) -> None:
        """Write it, atomically.

        Raises:
            RequirementError: no space, or the folder cannot be written.
        """
        with atomic_path(path) as temporary:
            save_file({name: getattr(self, name).contiguous() for name in _FIELDS}, temporary)

    @classmethod
    def load(cls, path: Path) -> Basis:
        """Read it.

        Raises:
            InputError: missing or damaged.
        """
        try:
            return cls(**load_file(path))
        except (OSError, SafetensorError, TypeError) as error:
            raise InputError(f"{path} is missing or damaged: {error}.", "Use --exact, or index again.") from error

    def to(self, device: torch.device) -> Basis:
        return Basis(*(getattr(self, name).to(device) for name in _FIELDS))


_FIELDS = ("mean", "encode", "decode", "unit")


def fit_basis(tokens: Tensor, folded: FoldedAttention, texts: FoldedTexts, size: int) -> Basis:
    """Directions from a sample of tokens [n, K, D] and the trained texts, in double precision.

    Args:
        size: R; fewer where the tokens have fewer dimensions.
    """
    sample = tokens.double().cpu()
    mean = sample.mean(dim=0)
    rest = (sample - mean).flatten(0, 1)
    covariance = rest.T @ rest / len(rest)
    functions = torch.cat([texts.keys, texts.values]).flatten(0, 1).double().cpu()
    moment = functions.T @ functions / len(functions)
    moment += max(float(moment.trace()) / len(moment), 1e-12) * torch.eye(len(moment), dtype=moment.dtype)
    root = torch.linalg.cholesky(moment)
    _, vectors = torch.linalg.eigh(root.T @ covariance @ root)
    vectors = vectors.flip(-1)[:, : min(size, len(moment))]
    encode, decode = root @ vectors, torch.linalg.solve(root.T, vectors).T
    coded = rest @ encode
    reach = torch.minimum(coded.abs().amax(dim=0), CLIPPED * coded.std(dim=0, correction=0))
    step = (reach / 127).clamp(min=1e-12)
    unit = _head_values(sample[:BLOCK].float(), folded).square().sum(dim=-1).mean()
    return Basis(
        mean.float(), (encode / step).float(), (decode * step[:, None]).float(), unit.clamp(min=1e-12).float()[None]
    )


def encode(tokens: Tensor, basis: Basis, folded: FoldedAttention) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [n, K, R] int8, norms and floors [n, K, H] float16 of raw tokens [n, K, D]."""
    codes, norms, floors = [], [], []
    for start in range(0, len(tokens), BLOCK):
        part = tokens[start : start + BLOCK].float()
        codes.append(((part - basis.mean) @ basis.encode).round_().clamp_(-127, 127).to(torch.int8).cpu())
        values = _head_values(part, folded).transpose(1, 2) / basis.unit.sqrt()  # [n, H, K, D / H]
        products = values @ values.mT
        norms.append(products.diagonal(dim1=-2, dim2=-1).mT.clamp(max=6e4).half().cpu())
        alone = torch.eye(products.shape[-1], dtype=torch.bool, device=products.device)
        smallest = products.masked_fill(alone, torch.inf).amin(dim=-1)
        smallest = torch.where(smallest.isinf(), products.diagonal(dim1=-2, dim2=-1), smallest)  # of a single token
        floors.append(smallest.mT.clamp(-6e4, 6e4).half().cpu())
    return torch.cat(codes).numpy(), torch.cat(norms).numpy(), torch.cat(floors).numpy()


def _head_values(tokens: Tensor, folded: FoldedAttention) -> Tensor:
    """z [n, K, H, D / H]: value projections (without bias) in a basis where W_o,h is a rotation."""
    roots = folded.block_root.to(folded.value)
    joined = torch.einsum("hds,hrs->dhr", folded.value, roots)  # [D, H, D / H]
    return (tokens @ joined.flatten(1).to(tokens.dtype)).unflatten(-1, (folded.heads, -1))


@dataclass(frozen=True)
class SketchedTexts:
    """Texts against codes: columns [R, 2 * Z * H], what the mean tokens add [K, 2 * Z * H], and the unit of norms."""

    columns: Tensor
    offset: Tensor
    unit: float


def sketch_texts(basis: Basis, texts: FoldedTexts) -> SketchedTexts:
    """Fold the basis into texts, too."""
    columns = texts.columns()
    return SketchedTexts((basis.decode @ columns).contiguous(), basis.mean @ columns, float(basis.unit))


def estimate(
    codes: Tensor, norms: Tensor, sketched: SketchedTexts, texts: FoldedTexts, folded: FoldedAttention
) -> Tensor:
    """Estimated scores [n, Z] from codes and norms: attention and numerator from the codes, |V|^2 as if the tokens that a
    head looks at were orthogonal."""
    projected = folded.project(codes, sketched.columns)
    projected += sketched.offset
    weights, numerator = folded.attend(projected, texts)
    square = (weights.square_() * norms[:, :, None].to(weights.dtype)).sum(dim=1).sum(dim=-1)
    return folded.scale * numerator / (sketched.unit * square).sqrt_().clamp_(min=1e-12)
