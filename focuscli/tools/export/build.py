"""`focus export`: a checkpoint as files for onnxruntime, compared with the checkpoint before they appear."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clip_impl.preprocess import MEAN, STD
from focuscli import __version__
from focuscli.data.schema import Text
from focuscli.engine.scoring import Progress
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.files import atomic_path, file_sha256
from focuscli.tools.export.card import (
    IDS,
    KEY,
    PIXELS,
    ROWS,
    SCORES,
    TEXTS,
    ModelCard,
    Precision,
    checksum_path,
    tower_path,
)
from focuscli.tools.export.graph import Scores, fold_constants, for_export, quantise, text_tower, to_onnx
from focuscli.tools.export.parity import Crops, Parity, check_parity
from focuscli.tools.export.runtime import OnnxScorer

if TYPE_CHECKING:
    import onnx

UNSEEN = ("green scarf", "a person who holds an umbrella", "white shoes")
"""Texts that a dynamic model is also compared on, besides the trained ones."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how its scores compare with the checkpoint's; see `Parity`."""

    files: list[Path]
    kind: str
    precision: Precision
    texts: int
    parity: list[Parity]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "files": [str(file) for file in self.files]}


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
) -> ExportReport:
    """Write a model as ONNX, after comparing it with the checkpoint on synthetic crops and on `crops`.

    Args:
        recognizer: on the CPU, in fp32.
        target: the model's file. Beside it go `checksum_path` and, for a dynamic model, `tower_path`.
        fingerprint: of the checkpoint. texts: of a fixed model; None: the trained attributes.
        int8: quantise the image side. The text tower of a dynamic model stays in fp32: it runs once per text, and its
            errors would be in every score.

    Raises:
        CheckFailed: the scores differ by too much; nothing was written.
        UsageError: a text is too long, or the method takes no other texts. InputError: a crop cannot be read.
        RequirementError: no space, or the folder cannot be written.
    """
    texts = tuple(texts or recognizer.attributes)
    features = recognizer.encode_texts(texts).detach().clone()
    model = for_export(recognizer.model)
    precision: Precision = "int8" if int8 else "fp32"
    tower, text_inputs = text_tower(model) if dynamic else (None, None)
    files = [target, *([tower_path(target)] if dynamic else []), checksum_path(target)]
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="focus-export-")))
        temporary = {file: stack.enter_context(atomic_path(file)) for file in files}
        tower_file = temporary.get(tower_path(target))
        if tower is not None and text_inputs is not None and tower_file is not None:
            inputs, axes = {IDS: torch.from_numpy(text_inputs.ids(texts))}, {IDS: {0: "texts", 1: "length"}}
            rows = text_inputs.extra(texts, model.texts)
            if rows is not None:
                inputs[ROWS], axes[ROWS] = torch.from_numpy(rows), {0: "texts"}
            _save(fold_constants(to_onnx(tower, inputs, TEXTS, axes), work), tower_file)
        inputs, axes = {PIXELS: torch.zeros(2, *recognizer.image_size, 3, dtype=torch.uint8)}, {PIXELS: {0: "batch"}}
        if dynamic:
            inputs[TEXTS], axes[TEXTS] = features, {0: "texts"}
        graph = fold_constants(to_onnx(Scores(model, None if dynamic else features), inputs, SCORES, axes), work)
        card = ModelCard(
            kind="dynamic" if dynamic else "fixed",
            precision=precision,
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
            tower=tower_path(target).name if tower_file else "",
            tower_sha256=file_sha256(tower_file) if tower_file else "",
        )
        _save(quantise(graph, work) if int8 else graph, temporary[target], card)
        lines = [f"{file_sha256(temporary[file])}  {file.name}\n" for file in files[:-1]]
        temporary[files[-1]].write_text("".join(lines), encoding="utf-8")
        exported = OnnxScorer.from_file(temporary[target], tower=tower_file)
        compared = [*texts, *(recognizer.text(words) for words in UNSEEN)] if dynamic else texts
        parity = check_parity(recognizer, exported, compared, crops, progress)
    return ExportReport(files, card.kind, precision, len(texts), parity)


def _save(proto: onnx.ModelProto, path: Path, card: ModelCard | None = None) -> None:
    import onnx

    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "focus", __version__
    if card is not None:
        entry = proto.metadata_props.add()
        entry.key, entry.value = KEY, card.to_json()
    onnx.save(proto, str(path))
