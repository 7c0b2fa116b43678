"""Checking a weight file from end to end: `python -m clip_impl.selfcheck FILE [--image PNG]`.

Exit code 0 where every check holds, 5 where one does not, 3 where the file cannot be read.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from clip_impl.config import VIT_B_16
from clip_impl.errors import WeightsError
from clip_impl.model import CLIP
from clip_impl.preprocess import Preprocess
from clip_impl.tokenizer import tokenize
from clip_impl.weights import OPENAI_SHA256, LoadedWeights, build_model, check_model, read_state_dict

FAILED, UNREADABLE = 5, 3
TEXTS = ("a red circle", "a photo of a dog", "a page of text")
IMAGE_TEXTS = ("a diagram", "a dog", "a cat")
TOLERANCE = 1e-4
"""Largest difference to another library, as a part of the largest feature value."""

Encoders = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Finding:
    """One line of the report; `note` judges nothing."""

    status: Literal["ok", "note", "failed"]
    name: str
    detail: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clip_impl.selfcheck", description=(__doc__ or "").split(":")[0])
    parser.add_argument("file", type=Path, help="a weight file in any format that clip_impl reads")
    parser.add_argument("--image", type=Path, help="score this picture instead of a drawn one")
    options = parser.parse_args(arguments)
    failed = 0
    try:
        for finding in check_file(options.file, options.image):
            print(f"{finding.status:7}{finding.name:12}{finding.detail}", flush=True)
            failed += finding.status == "failed"
    except (WeightsError, OSError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return UNREADABLE
    print(f"{failed} checks failed" if failed else "all checks hold")
    return FAILED if failed else 0


def check_file(path: Path, picture: Path | None = None) -> Iterator[Finding]:
    """The findings, one after the other as they are made.

    Raises:
        WeightsError: the file cannot be read.
        OSError: the picture cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # An unknown activation is a finding of its own.
        weights = read_state_dict(path)
    yield _digest(path, weights)
    yield Finding("ok", "format", weights.format)
    try:
        config = check_model(weights)
    except WeightsError as error:
        yield Finding("failed", "tensors", str(error))
        return
    count = len(weights.tensors)
    parameters = sum(tensor.numel() for tensor in weights.tensors.values())
    shape = "ViT-B/16" if config.vision == VIT_B_16.vision and config.text == VIT_B_16.text else f"{config.vision}"
    yield Finding("ok", "tensors", f"{count}, all present and of the right shapes; {parameters:,} parameters; {shape}")
    known = weights.activation_source != "default"
    yield Finding("ok" if known else "note", "activation", f"{weights.activation}, from: {weights.activation_source}")
    model = build_model(config, weights.tensors).eval()
    image, ids, texts = _inputs(model, picture)
    with torch.inference_mode():
        image_features, text_features = model.encode_image(image), model.encode_text(ids)
        scores = model(image, ids)[0].softmax(dim=-1)[0]
    yield _features("image", image_features)
    yield _features("texts", text_features)
    shown = ", ".join(f"{text} {score:.4f}" for text, score in zip(texts, scores.tolist(), strict=True))
    # The drawing fits the first text; how well is for the reader to judge, a training that fails on drawings may be sound.
    fits = picture is None and int(scores.argmax()) == 0
    yield Finding("ok" if fits else "note", "scores", f"{picture or 'a drawn red circle'}: {shown}")
    for name, open_model in (("clip", _load_clip), ("open_clip", _load_open_clip)):
        yield _compare(name, functools.partial(open_model, path, model), model, image, ids)


def _digest(path: Path, weights: LoadedWeights) -> Finding:
    name = next((name for name, digest in OPENAI_SHA256.items() if digest == weights.sha256), None)
    if name is not None:
        return Finding("ok", "sha256", f"{weights.sha256}: OpenAI's {name}")
    if path.name in OPENAI_SHA256 and weights.format.startswith("torchscript"):
        wanted = OPENAI_SHA256[path.name]
        return Finding("failed", "sha256", f"{weights.sha256}: not OpenAI's {path.name}, which has {wanted}")
    return Finding("note", "sha256", f"{weights.sha256}: not a file that is known here")


def _inputs(model: CLIP, picture: Path | None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """A picture [1, 3, H, W], ids of three texts, and the texts."""
    size = model.config.vision.image_size
    if picture is not None:
        with Image.open(picture) as opened:
            drawn, texts = opened.copy(), IMAGE_TEXTS
    else:
        drawn, texts = Image.new("RGB", (size[1], size[0]), "white"), TEXTS
        ImageDraw.Draw(drawn).ellipse([size[1] // 5, size[0] // 5, size[1] * 4 // 5, size[0] * 4 // 5], fill="red")
    return Preprocess(size=size, resize_mode="shortest")(drawn)[None], tokenize(texts, model.context_length), texts


def _features(name: str, features: Tensor) -> Finding:
    norms = features.norm(dim=-1)
    sound = bool(torch.isfinite(features).all()) and bool((norms > 0).all())
    shown = ", ".join(f"{norm:.4f}" for norm in norms.tolist())
    return Finding("ok" if sound else "failed", name, f"norms of the features: {shown}")


def _compare(name: str, open_model: Callable[[], Encoders], model: CLIP, image: Tensor, ids: Tensor) -> Finding:
    """Features of another library's model from the same file against ours."""
    with warnings.catch_warnings(), _quiet_logging(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            encode_image, encode_text = open_model()
            pairs = [(encode_image(image), model.encode_image(image)), (encode_text(ids), model.encode_text(ids))]
        except Exception as error:  # Another library may fail in any way; that says nothing about the file.
            reason = (str(error).splitlines() or [""])[0]
            return Finding("note", name, f"not compared: {type(error).__name__}: {reason[:150]}")
    differences = [float((theirs - ours).abs().max() / theirs.abs().max()) for theirs, ours in pairs]
    status: Literal["ok", "failed"] = "ok" if max(differences) <= TOLERANCE else "failed"
    detail = f"image differs by {differences[0]:.1e}, texts by {differences[1]:.1e} of the largest feature value"
    return Finding(status, name, f"{detail} (allowed: {TOLERANCE:.0e})")


@contextlib.contextmanager
def _quiet_logging() -> Iterator[None]:
    """Without the remarks of other libraries, which would stand between the lines of the report."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _load_clip(path: Path, model: CLIP) -> Encoders:
    clip = importlib.import_module("clip")
    if not hasattr(clip, "load"):
        raise ImportError("the installed module clip is another one than OpenAI's")
    theirs = clip.load(str(path), device="cpu", jit=False)[0].float().eval()
    if model.config.activation != "quick_gelu":
        raise ValueError("it knows quick_gelu only")
    return theirs.encode_image, theirs.encode_text


def _load_open_clip(_path: Path, model: CLIP) -> Encoders:
    open_clip = importlib.import_module("open_clip")
    vision, text = model.config.vision, model.config.text
    if (vision, text, model.config.embed_dim) != (VIT_B_16.vision, VIT_B_16.text, VIT_B_16.embed_dim):
        raise ValueError("compared for ViT-B/16 only")
    name = "ViT-B-16-quickgelu" if model.config.activation == "quick_gelu" else "ViT-B-16"
    # Not from the file: it cannot read OpenAI's archive without torch.jit, nor other libraries' names.
    theirs = open_clip.create_model(name, load_weights=False, precision="fp32", device="cpu").eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    return theirs.encode_image, theirs.encode_text


if __name__ == "__main__":
    sys.exit(main())
