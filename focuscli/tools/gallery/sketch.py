"""What is stored beside the tokens to find candidates quickly and to enclose norms; derived, so it can be made again.

- **Codes** [n, K, R] int8: each token in R directions, those in which the trained texts' folded keys and values tell
  tokens apart best. With m = mean_k + decode c + rest, |rest . f|^2 is least over folded texts f when the directions are
  the leading eigenvectors of L^T C L, where C is the tokens' covariance and L L^T = the folded texts' second moment plus
  its mean eigenvalue (so that texts nobody trained count too).
- **Norms** q and **floors**, what is known of |V| before the text is. With w_hk = W_o,h W_v,h m_k, what token k adds to V
  where head h looks at it, and b the bias, V = sum_hk a_hk w_hk + b, so that

      |V|^2 = |b|^2 + sum_h (sum_k a_hk^2 q_hk + sum_(k != j) a_hk a_hj w_hk . w_hj) + sum_(h != g) sum_kj a_hk a_gj C_hk,gj
              + 2 sum_hk a_hk b . w_hk,      q_hk = |w_hk|^2,   C_hk,gj = w_hk . w_gj.

  Within a head the second sum is at least sum_k a_hk (1 - a_hk) min_(j != k) w_hk . w_hj, and the whole head at most
  sum_k a_hk q_hk (Jensen). Between heads, with c_gj the mean of C_hk,gj over k, the last sum is at least
  sum_hk a_hk sum_g (min_j (C_hk,gj - c_gj) + mean_j C_hk,gj), and at most the same with max. So three numbers for each
  head and token enclose |V| for any text:  |b|^2 + sum_hk (s a_hk^2 + l a_hk) <= |V|^2 <= |b|^2 + sum_hk u a_hk.

A mean token does not do as a filter: the diversity loss makes a trained model's Mix Tokens orthogonal, and its texts
look at one of them each (examples/benchmarks/NOTES.md has the recall of both).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from focuscli.errors import InputError
from focuscli.storage.files import atomic_path
from focuscli.tools.gallery.folded import FoldedAttention, FoldedTexts, crops_last

BLOCK = 64
CONVERTED = 1 << 18  # Codes turned into floats at a time on a CPU: so few that they stay in the cache.
CLIPPED = 5.0  # Standard deviations beyond which a code is cut off.
AGAIN = "Make the sketch again, without encoding: focus index SOURCE -o GALLERY --resume"


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

    def save(self, folder: Path) -> str:
        """Write it, atomically; returns the file's name, which has the digest of its content.

        Raises:
            RequirementError: no space, or the folder cannot be written.
        """
        content = save({name: getattr(self, name).contiguous() for name in _FIELDS})
        with atomic_path(folder / _file_name(content)) as temporary:
            temporary.write_bytes(content)
        return _file_name(content)

    @classmethod
    def load(cls, path: Path) -> Basis:
        """Read it.

        Raises:
            InputError: missing or damaged.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} is missing: {error.strerror}.", AGAIN) from error
        if _file_name(content) != path.name:
            raise InputError(f"{path} is damaged: its name is not that of what is in it.", AGAIN)
        return cls(**load(content))

    def to(self, device: torch.device) -> Basis:
        return Basis(*(getattr(self, name).to(device) for name in _FIELDS))


_FIELDS = ("mean", "encode", "decode", "unit")


def _file_name(content: bytes) -> str:
    return f"basis-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"


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
    unit = _enclose(sample[:BLOCK].to(folded.value), folded)[0].mean()
    return Basis(
        mean.float(), (encode / step).float(), (decode * step[:, None]).float(), unit.clamp(min=1e-12).float()[None]
    )


def encode(tokens: Tensor, basis: Basis, folded: FoldedAttention) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [n, K, R] int8, norms [n, K, H] and floors [n, 3, K, H] float16 of raw tokens [n, K, D]."""
    codes, norms, floors = [], [], []
    for start in range(0, max(1, len(tokens)), BLOCK):  # at least once: all images of a shard may be unreadable
        part = tokens[start : start + BLOCK].float()
        codes.append(((part - basis.mean) @ basis.encode).round_().clamp_(-127, 127).to(torch.int8).cpu())
        square, rest = _enclose(part, folded)
        norms.append(_half(square / basis.unit))
        floors.append(_half(rest / basis.unit))
    return torch.cat(codes).numpy(), torch.cat(norms).numpy(), torch.cat(floors).numpy()


def _enclose(tokens: Tensor, folded: FoldedAttention) -> tuple[Tensor, Tensor]:
    """q [n, K, H], and s, l, u [n, 3, K, H] of tokens [n, K, D]."""
    products, bias = folded.token_products(tokens)
    _, heads, each, _, _ = products.shape
    same = products.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)  # [n, H, K, K]
    alone = torch.eye(each, dtype=torch.bool, device=tokens.device)
    within = same.masked_fill(alone, torch.inf).amin(dim=-1)
    within = torch.where(within.isinf(), torch.zeros_like(within), within)  # of a single token
    # between heads: [n, h, k, g, j], nothing for h = g
    others = ~torch.eye(heads, dtype=torch.bool, device=tokens.device)[:, None, :]
    rest = products - products.mean(dim=2, keepdim=True)
    linear = 2 * bias + (products.mean(dim=4) * others).sum(dim=-1)
    least = linear + (rest.amin(dim=4) * others).sum(dim=-1)
    most = linear + (rest.amax(dim=4) * others).sum(dim=-1)
    square = same.diagonal(dim1=-2, dim2=-1)
    return square.mT, torch.stack([square - within, within + least, square + most], dim=1).mT


def _half(values: Tensor) -> Tensor:
    return values.clamp(-6e4, 6e4).half().cpu()


@dataclass(frozen=True)
class Functions:
    """Linear functions of codes.

    Attributes:
        weights: [F, N]. rounded, steps: the same as int8, and what one of each is worth [F, 1]; `rounded` is None where
            integer products are of no use.
    """

    weights: Tensor
    rounded: Tensor | None
    steps: Tensor

    @classmethod
    def of(cls, weights: Tensor, *, integers: bool | None = None) -> Functions:
        """Functions of weights [F, N].

        Args:
            integers: compute in whole numbers; None: where the processor has instructions for it.
        """
        steps = weights.abs().amax(dim=1, keepdim=True).clamp_(min=1e-30) / 127
        if integers is None:
            integers = weights.device.type == "cpu" and integer_products()
        rounded = (weights / steps).round_().to(torch.int8) if integers else None
        return cls(weights.contiguous(), rounded, steps)

    def __call__(self, codes: Tensor) -> Tensor:
        """All functions [F, n] of codes [n, N] int8."""
        if self.rounded is not None:
            return torch._int_mm(self.rounded, codes.T).float().mul_(self.steps)
        count, width = codes.shape
        rows = CONVERTED // width if codes.device.type == "cpu" else max(count, 1)
        result, buffer = (
            self.weights.new_empty(len(self.weights), count),
            self.weights.new_empty(min(rows, count), width),
        )
        for start in range(0, count, rows):
            part = codes[start : start + rows]
            result[:, start : start + rows] = self.weights @ buffer[: len(part)].copy_(part).T
        return result


@cache
def integer_products() -> bool:
    """Whether products of int8 matrices are exact and fast here. Processors with AVX-512 and without VNNI are fast, too, and
    cut off large sums."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    largest = torch.full((32, 256), 127, dtype=torch.int8)
    try:
        product = torch._int_mm(largest, -largest.T)
    except (AttributeError, RuntimeError):  # not part of torch's documented interface
        return False
    return bool((product == -256 * 127 * 127).all())


@dataclass(frozen=True)
class LinearTexts:
    """Texts against codes to first order.

    Attributes:
        slopes: the scores' derivatives by a crop's codes [Z, K * R], at the mean tokens. scores: there [Z, 1].
    """

    slopes: Functions
    scores: Tensor


def linear_texts(
    basis: Basis, texts: FoldedTexts, folded: FoldedAttention, *, integers: bool | None = None
) -> LinearTexts:
    """Fold the basis into the derivatives of texts' scores; `integers` as of `Functions.of`."""
    scores, slopes = folded.linearize(basis.mean, texts)
    return LinearTexts(Functions.of((slopes @ basis.decode.T).flatten(1), integers=integers), scores[:, None])


def first_look(codes: Tensor, linear: LinearTexts) -> Tensor:
    """Scores [Z, n] of codes [n, K, R] as if they were linear in the tokens: a tenth of the work of `estimate`."""
    return linear.slopes(codes.flatten(1)).add_(linear.scores)


@dataclass(frozen=True)
class SketchedTexts:
    """Texts against codes.

    Attributes:
        functions: keys and values of all heads [2 * Z * H, R]. offset: what the mean tokens add [2 * Z * H, K, 1].
        unit: of norms.
    """

    functions: Functions
    offset: Tensor
    unit: float


def sketch_texts(basis: Basis, texts: FoldedTexts, *, integers: bool | None = None) -> SketchedTexts:
    """Fold the basis into texts, too; `integers` as of `Functions.of`."""
    functions = texts.functions()
    return SketchedTexts(
        Functions.of(functions @ basis.decode.T, integers=integers),
        (functions @ basis.mean.T)[:, :, None],
        float(basis.unit),
    )


def estimate(
    codes: Tensor, norms: Tensor, sketched: SketchedTexts, texts: FoldedTexts, folded: FoldedAttention
) -> Tensor:
    """Estimated scores [Z, n] from codes and norms: attention and numerator from the codes, |V|^2 as if all that the heads
    look at were orthogonal."""
    each, count = codes.shape[1], len(codes)
    projected = (
        sketched.functions(codes.transpose(0, 1).flatten(0, 1)).unflatten(1, (each, count)).add_(sketched.offset)
    )
    weights, numerator = folded.attend(projected, texts)
    square = weights.square_().mul_(crops_last(norms, weights.dtype)).sum(dim=2).sum(dim=1)
    return folded.scale * numerator / square.mul_(sketched.unit).sqrt_().clamp_(min=1e-12)
