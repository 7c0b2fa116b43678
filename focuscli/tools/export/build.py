"""`focus export`: a checkpoint as files for onnxruntime, compared with the checkpoint before they appear."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clip_impl.preprocess import MEAN, STD
from focuscli import __version__
from focuscli.data.schema import Text
from focuscli.engine.scoring import Progress
from focuscli.inference.predict import decide
from focuscli.inference.recognizer import Recognizer
from focuscli.storage.files import atomic_path, file_sha256, write_errors
from focuscli.tools.export.graph import Scores, for_export, quantise, text_tower, to_onnx
from focuscli.tools.export.parity import Crops, check_parity
from focuscli.tools.export.runtime import IDS, KEY, PIXELS, ROWS, SCORES, TEXTS, OnnxScorer, tower_path

if TYPE_CHECKING:
    import onnx

UNSEEN = ("green scarf", "a person who holds an umbrella", "white shoes")  # a dynamic model is compared on these too


def export_onnx(
    recognizer: Recognizer,
    target: Path,
    texts: Sequence[Text],
    crops: Crops | None,
    progress: Progress,
    *,
    fingerprint: str,
    dynamic: bool,
    int8: bool,
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write a model as ONNX, after comparing it with the checkpoint on synthetic crops and on `crops`.

    Args:
        recognizer: on the CPU, in fp32.
        target: the model's file. Beside it go its checksums and, for a dynamic model, `tower_path`.
        fingerprint: of the checkpoint. texts: of a fixed model.
        int8: quantise the image side. The text tower of a dynamic model stays in fp32: it runs once per text, and its
            errors would be in every score.

    Returns:
        The files, and how their scores compare with the checkpoint's, see `compare`.

    Raises:
        CheckFailed: the scores differ by too much; nothing was written.
        UsageError: a text is too long, or the method takes no other texts. InputError: a crop cannot be read.
        RequirementError: no space, or the folder cannot be written.
    """
    features = recognizer.encode_texts(texts).detach().clone()
    model = for_export(recognizer.model)
    tower = text_tower(model) if dynamic else None
    files = [target, *([tower_path(target)] if dynamic else []), target.with_name(f"{target.name}.sha256")]
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            work = Path(folder)
            made = [work / file.name for file in files]
            card: dict[str, Any] = {"kind": "fixed", "reading": None, "tower": "", "tower_sha256": ""}
            pixels = torch.zeros(2, *recognizer.image_size, 3, dtype=torch.uint8)
            inputs, axes = {PIXELS: pixels}, {PIXELS: {0: "batch"}}
            if tower is not None:
                module, text_inputs = tower
                arrays = {IDS: text_inputs.ids(texts), ROWS: text_inputs.extra(texts, model.texts)}
                words = {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}
                sizes = {name: {0: "texts", 1: "length"} if name == IDS else {0: "texts"} for name in words}
                _save(to_onnx(module, words, TEXTS, sizes, work), made[1])
                card = {"kind": "dynamic", "reading": asdict(text_inputs), "tower": files[1].name}
                card["tower_sha256"] = file_sha256(made[1])
                inputs[TEXTS], axes[TEXTS] = features, {0: "texts"}
            graph = to_onnx(Scores(model, None if dynamic else features), inputs, SCORES, axes, work)
            card |= {"precision": "int8" if int8 else "fp32", "fingerprint": fingerprint}
            description = json.dumps(card | describe(recognizer, texts), ensure_ascii=False)
            _save(quantise(graph, work) if int8 else graph, made[0], description)
            made[-1].write_text("".join(f"{file_sha256(file)}  {file.name}\n" for file in made[:-1]), encoding="utf-8")
            compared = [*texts, *(recognizer.text(words) for words in UNSEEN)] if dynamic else texts
            parity = check_parity(recognizer, OnnxScorer(made[0]), compared, crops, progress)
            for source, file in zip(made, files, strict=True):
                with atomic_path(file) as temporary:
                    source.replace(temporary)
    return files, parity


def describe(recognizer: Recognizer, texts: Sequence[Text]) -> dict[str, Any]:
    """What a model's metadata say about its checkpoint and `texts`, those of a fixed model's scores or the trained ones.
    `OnnxScorer` reads part of it; "labels", "input" and "output" are for those who use the model without focus."""
    return {
        "format": 1,
        "method": recognizer.config.model.method,
        "texts": [asdict(text) for text in texts],
        "vocabulary": asdict(recognizer.vocabulary),
        "threshold_source": recognizer.threshold_source,
        "checkpoint": str(recognizer.folder),
        "weights": recognizer.weights,
        "trained_on": recognizer.trained_on,
        "made_by": f"focus {__version__}",
        "input": {
            "size": recognizer.image_size,
            "mean": MEAN,
            "std": STD,
            "name": PIXELS,
            "layout": "uint8 [batch, height, width, 3], RGB",
            "resize": "to size = (height, width) with Pillow's bicubic filter, ignoring the aspect ratio, no cropping",
            "normalisation": "inside the graph: (pixels / 255 - mean) / std",
        },
        "output": {"name": SCORES, "layout": "float32 [batch, texts]", "decision": "score > threshold"},
        "labels": [
            {
                "name": label.text.attribute or label.text.phrase,
                "phrase": label.text.phrase,
                "region": label.text.region,
                "region_source": label.region_source,
                "seen": label.seen,
                "threshold": label.threshold,
                "threshold_source": label.threshold_source,
            }
            for label in decide(recognizer.vocabulary, texts)
        ],
    }


def _save(proto: onnx.ModelProto, path: Path, description: str = "") -> None:
    import onnx

    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "focus", __version__
    if description:
        proto.metadata_props.add(key=KEY, value=description)
    onnx.save(proto, str(path))
