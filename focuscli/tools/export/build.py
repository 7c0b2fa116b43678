"""`focus export`: a checkpoint as files for onnxruntime, compared with the checkpoint before they appear."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clip_impl.preprocess import MEAN, STD
from focuscli import __version__
from focuscli.data.schema import Text
from focuscli.engine.scoring import Progress
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.files import atomic_path, file_sha256, write_errors
from focuscli.tools.export.graph import Scores, fold_constants, for_export, quantise, text_tower, to_onnx
from focuscli.tools.export.parity import Crops, Parity, check_parity
from focuscli.tools.export.runtime import (
    IDS,
    KEY,
    PIXELS,
    ROWS,
    SCORES,
    TEXTS,
    ModelCard,
    OnnxScorer,
    checksum_path,
    tower_path,
)

if TYPE_CHECKING:
    import onnx

UNSEEN = ("green scarf", "a person who holds an umbrella", "white shoes")
"""Texts that a dynamic model is also compared on, besides the trained ones."""


def export_onnx(
    recognizer: Recognizer,
    target: Path,
    *,
    fingerprint: str,
    texts: Sequence[Text] | None = None,
    dynamic: bool = False,
    int8: bool = False,
    crops: Crops | None = None,
    progress: Progress | None = None,
) -> tuple[list[Path], list[Parity]]:
    """Write a model as ONNX, after comparing it with the checkpoint on synthetic crops and on `crops`.

    Args:
        recognizer: on the CPU, in fp32.
        target: the model's file. Beside it go `checksum_path` and, for a dynamic model, `tower_path`.
        fingerprint: of the checkpoint. texts: of a fixed model; None: the trained attributes.
        int8: quantise the image side. The text tower of a dynamic model stays in fp32: it runs once per text, and its
            errors would be in every score.

    Returns:
        The files, and how their scores compare with the checkpoint's.

    Raises:
        CheckFailed: the scores differ by too much; nothing was written.
        UsageError: a text is too long, or the method takes no other texts. InputError: a crop cannot be read.
        RequirementError: no space, or the folder cannot be written.
    """
    texts = tuple(texts or recognizer.attributes)
    features = recognizer.encode_texts(texts).detach().clone()
    model = for_export(recognizer.model)
    tower, text_inputs = text_tower(model) if dynamic else (None, None)
    files = [target, *([tower_path(target)] if dynamic else []), checksum_path(target)]
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            work = Path(folder)
            made = [work / file.name for file in files]
            if tower is not None and text_inputs is not None:
                inputs, axes = {IDS: torch.from_numpy(text_inputs.ids(texts))}, {IDS: {0: "texts", 1: "length"}}
                rows = text_inputs.extra(texts, model.texts)
                if rows is not None:
                    inputs[ROWS], axes[ROWS] = torch.from_numpy(rows), {0: "texts"}
                _save(fold_constants(to_onnx(tower, inputs, TEXTS, axes), work), made[1])
            pixels = torch.zeros(2, *recognizer.image_size, 3, dtype=torch.uint8)
            inputs, axes = {PIXELS: pixels}, {PIXELS: {0: "batch"}}
            if dynamic:
                inputs[TEXTS], axes[TEXTS] = features, {0: "texts"}
            graph = fold_constants(to_onnx(Scores(model, None if dynamic else features), inputs, SCORES, axes), work)
            card = ModelCard(
                kind="dynamic" if dynamic else "fixed",
                precision="int8" if int8 else "fp32",
                method=recognizer.config.model.method,
                image_size=recognizer.image_size,
                mean=MEAN,
                std=STD,
                texts=texts,
                vocabulary=recognizer.vocabulary,
                threshold_source=recognizer.threshold_source,
                checkpoint=str(recognizer.folder),
                fingerprint=fingerprint,
                weights=recognizer.weights,
                trained_on=recognizer.trained_on,
                made_by=f"focus {__version__}",
                text_inputs=text_inputs,
                tower=files[1].name if dynamic else "",
                tower_sha256=file_sha256(made[1]) if dynamic else "",
            )
            _save(quantise(graph, work) if int8 else graph, made[0], card)
            made[-1].write_text("".join(f"{file_sha256(file)}  {file.name}\n" for file in made[:-1]), encoding="utf-8")
            compared = [*texts, *(recognizer.text(words) for words in UNSEEN)] if dynamic else texts
            parity = check_parity(recognizer, OnnxScorer.from_file(made[0]), compared, crops, progress)
            for source, file in zip(made, files, strict=True):
                with atomic_path(file) as temporary:
                    source.replace(temporary)
    return files, parity


def _save(proto: onnx.ModelProto, path: Path, card: ModelCard | None = None) -> None:
    import onnx

    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "focus", __version__
    if card is not None:
        proto.metadata_props.add(key=KEY, value=card.to_json())
    onnx.save(proto, str(path))
