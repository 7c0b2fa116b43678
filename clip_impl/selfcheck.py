"""Checking a weight file from end to end: `python -m clip_impl.selfcheck FILE [--image PNG]`.

Exit code 0 if every check passes, 5 if one fails, 3 if the file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageDraw

from clip_impl.config import OPENAI_SHA256, VIT_B_16
from clip_impl.errors import WeightsError
from clip_impl.preprocess import Preprocess
from clip_impl.tokenizer import tokenize
from clip_impl.weights import LoadedWeights, build_model, check_model, read_state_dict

FAILED, UNREADABLE = 5, 3
TEXTS = ("a red circle", "a photo of a dog", "a page of text")
IMAGE_TEXTS = ("a diagram", "a dog", "a cat")


@dataclass(frozen=True)
class Finding:
    """One line of the report; a `note` is for the reader to judge."""

    status: Literal["ok", "note", "failed"]
    name: str
    detail: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clip_impl.selfcheck", description=(__doc__ or "").split(":")[0])
    parser.add_argument("file", type=Path, help="a weight file in any format that clip_impl reads")
    parser.add_argument("--image", type=Path, help="score this picture instead of a drawing")
    options = parser.parse_args(arguments)
    failed = 0
    try:
        for finding in check_file(options.file, options.image):
            print(f"{finding.status:7}{finding.name:12}{finding.detail}", flush=True)
            failed += finding.status == "failed"
    except (WeightsError, OSError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return UNREADABLE
    print(f"{failed} check{'s' if failed > 1 else ''} failed" if failed else "all checks passed")
    return FAILED if failed else 0


def check_file(path: Path, picture: Path | None = None) -> Iterator[Finding]:
    """The findings, each as soon as it is made.

    Raises:
        WeightsError: the file cannot be read.
        OSError: the picture cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # An unknown activation is a finding of its own.
        weights = read_state_dict(path)
    yield _check_digest(path, weights)
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
    size = config.vision.image_size
    texts = TEXTS if picture is None else IMAGE_TEXTS
    with Image.open(picture) if picture is not None else _draw_circle(size) as opened:
        image = Preprocess(size=size, resize_mode="shortest")(opened)[None]
    ids = tokenize(texts, model.context_length)
    with torch.inference_mode():
        features = [model.encode_image(image), model.encode_text(ids)]
        scores = model(image, ids)[0].softmax(dim=-1)[0]
    for name, found in zip(("image", "texts"), features, strict=True):
        norms = found.norm(dim=-1)
        shown = ", ".join(f"{norm:.4f}" for norm in norms.tolist())
        passed = bool(torch.isfinite(found).all()) and bool((norms > 0).all())
        yield Finding("ok" if passed else "failed", name, f"norms of the features: {shown}")
    shown = ", ".join(f"{text} {score:.4f}" for text, score in zip(texts, scores.tolist(), strict=True))
    # The first text describes the drawing. A sound model may still fail on drawings, so this is never a failure.
    fits = picture is None and int(scores.argmax()) == 0
    yield Finding("ok" if fits else "note", "scores", f"{picture or 'a drawing of a red circle'}: {shown}")


def _check_digest(path: Path, weights: LoadedWeights) -> Finding:
    name = next((name for name, digest in OPENAI_SHA256.items() if digest == weights.sha256), None)
    if name is not None:
        return Finding("ok", "sha256", f"{weights.sha256}: OpenAI's {name}")
    if path.name in OPENAI_SHA256 and weights.format.startswith("torchscript"):
        expected = OPENAI_SHA256[path.name]
        return Finding("failed", "sha256", f"{weights.sha256}: not OpenAI's {path.name}, which has {expected}")
    return Finding("note", "sha256", f"{weights.sha256}: not a known file")


def _draw_circle(size: tuple[int, int]) -> Image.Image:
    height, width = size
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).ellipse([width // 5, height // 5, width * 4 // 5, height * 4 // 5], fill="red")
    return image


if __name__ == "__main__":
    sys.exit(main())
