"""An exported model: what it says about itself, as JSON in the file, and its scores by onnxruntime.

Imports no torch, no pydantic, nothing that is slow to import.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text
from focuscli.engine.scoring import ScorePixels
from focuscli.errors import InputError, RequirementError, UsageError, closest, listed, one_line
from focuscli.inference.predict import Scorer
from focuscli.inference.vocabulary import Vocabulary, is_called
from focuscli.models.text_inputs import TextInputs
from focuscli.storage.extras import require_extra
from focuscli.storage.files import file_sha256

KEY = "focus"  # of the JSON text in the model's metadata
PIXELS, TEXTS, SCORES, IDS, ROWS = "pixels", "texts", "scores", "ids", "rows"  # inputs and outputs of the graphs
AGAIN = "Export it again: focus export -c RUN -o FILE.onnx --force"


def tower_path(target: Path) -> Path:
    """The text tower of a dynamic model, beside it."""
    return target.with_name(f"{target.stem}.texts.onnx")


class OnnxScorer(Scorer):
    """A model that `focus export` wrote, run by onnxruntime."""

    def __init__(self, path: Path, *, device: str = "auto", precision: str = "auto") -> None:
        """Load a model, after comparing it with the checksum beside it, if that is there.

        Args:
            device: "auto" and "cpu", or "cuda" if this onnxruntime has it. precision: "auto" or the file's own.

        Raises:
            InputError: no ONNX model, not made by `focus export`, or changed since. UsageError: another precision.
            RequirementError: onnxruntime is not installed or does not load, or it does not support the device.
        """
        require_extra("onnx", "onnxruntime", purpose="An exported model")
        checksums = path.with_name(f"{path.name}.sha256")
        if checksums.is_file() and file_sha256(path) not in checksums.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{path} has changed since it was exported: see {checksums.name}.", AGAIN)
        self.folder, self._device, self._session = path, device, open_session(path, device)
        try:
            card = json.loads(self._session.get_modelmeta().custom_metadata_map[KEY])
            if card["format"] != 1:
                raise ValueError("from another version of focus (expected format 1)")
            self.precision, self.weights, self.fingerprint = card["precision"], card["weights"], card["fingerprint"]
            self.threshold_source = card["threshold_source"]
            self.about = card.get("about") or f"trained on {card['trained_on']}, weights: {self.weights}"
            height, width = card["input"]["size"]
            self.image_size = (int(height), int(width))
            # Of a fixed model in the order of its scores, else the trained attributes.
            self.default_texts = self.texts = _texts(card["texts"])
            known = card["vocabulary"]
            known |= {name: _texts(known[name]) for name in ("trained", "attributes", "declared")}
            self.vocabulary = Vocabulary(**{**known, "regions": tuple(known["regions"])})
            self._text_inputs = None if card["kind"] == "fixed" else TextInputs(**card["reading"])
            self._tower, self._tower_sha256 = Path(card["tower"]).name, card["tower_sha256"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path} has no description by focus export, or a damaged one: {error!r}.", AGAIN
            ) from error
        if precision not in ("auto", self.precision):
            raise UsageError(
                f"{path} is a model in {self.precision}; an exported model has one precision, not {precision}.",
                "Omit --precision, or export another model: focus export [--int8]",
            )

    def text(self, words: str, *, region: str | None = None) -> Text:
        """A text from words; for a fixed model one of its own texts.

        Raises:
            UsageError: no word, an unknown region, or a text that a fixed model was not exported with.
        """
        if self._text_inputs is not None:
            return super().text(words, region=region)
        found = [text for text in self.texts if is_called(text, words)]
        if found and region in (None, found[0].region):
            return found[0]
        near = closest(words, [text.phrase for text in self.texts])
        known = listed([text.phrase for text in self.texts], 8)
        raise UsageError(
            f'{self.folder.name} was exported with fixed texts; it cannot be asked for "{words}"'
            + (f" in region {region}." if found else "."),
            (f"Did you mean {near}? " if near else "")
            + f"It knows {known}. For others: focus export --texts FILE; for any: focus export --dynamic",
        )

    def score_fn(self, texts: Sequence[Text]) -> ScorePixels:
        """Encode the texts once, and return what scores uint8 pixels [B, H, W, 3] against them: [B, Z].

        Raises:
            UsageError: a text is empty, too long, or not one of a fixed model's.
            InputError: the text tower's file is missing, or not the one that the model was exported with.
        """
        if self._text_inputs is not None:
            features = self._encode(self._text_inputs, texts)
            return lambda pixels: self._session.run(None, {PIXELS: pixels, TEXTS: features})[0]
        columns = [self.texts.index(self.text(text.phrase)) for text in texts]
        return lambda pixels: self._session.run(None, {PIXELS: pixels})[0][:, columns]

    def _encode(self, text_inputs: TextInputs, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Text features [Z, F]; the text tower is loaded for them and not kept."""
        arrays = {IDS: text_inputs.ids(texts), ROWS: text_inputs.extra(texts, self.vocabulary.trained)}
        inputs = {name: value for name, value in arrays.items() if value is not None}
        tower = self.folder.with_name(self._tower)
        if not tower.is_file() or file_sha256(tower) != self._tower_sha256:
            raise InputError(
                f"{tower} is not there, or not the text tower that {self.folder.name} was exported with.",
                "Keep the two files together, or export both again: focus export --dynamic --force",
            )
        features: NDArray[np.float32] = open_session(tower, self._device).run(None, inputs)[0]
        return features


def open_session(path: Path, device: str = "auto") -> Any:
    """A session of onnxruntime, on OMP_NUM_THREADS threads if that is set.

    Raises:
        InputError: the file is not an ONNX model. RequirementError: no such device here. UsageError: unknown device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: its warnings are about what its own optimiser does
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():  # PyTorch reads this variable; onnxruntime's own thread pool does not.
        options.intra_op_num_threads = int(threads)
    kind, _, index = device.partition(":")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device not in ("auto", "cpu"):
        if kind != "cuda" or not (index == "" or index.isdecimal()):
            raise UsageError(f'An exported model does not run on "{device}".', "Use auto, cpu, cuda or cuda:N.")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RequirementError(
                f"No CUDA for --device {device}: onnxruntime {onnxruntime.__version__} is a CPU build.",
                "Use --device cpu, or install onnxruntime-gpu instead.",
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": index or "0"}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise InputError(f"{path} cannot be read as an ONNX model: {one_line(error)}.", AGAIN) from error


def _texts(rows: Sequence[dict[str, Any]]) -> tuple[Text, ...]:
    return tuple(Text(**row) for row in rows)
