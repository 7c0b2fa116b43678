"""An exported model in use, by onnxruntime: no torch, no pydantic, nothing that is slow to import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text, normalise_phrase
from focuscli.engine.scoring import ScorePixels
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.inference.predict import Scorer
from focuscli.inference.vocabulary import is_called
from focuscli.storage.extras import require_extra
from focuscli.storage.files import file_sha256
from focuscli.tools.export.card import IDS, KEY, PIXELS, ROWS, TEXTS, ModelCard, checksum_path

ERRORS_ONLY = 3  # onnxruntime's log level; its warnings are about what its own optimiser does


class OnnxScorer(Scorer):
    """A model that `focus export` wrote, run by onnxruntime."""

    def __init__(self, path: Path, session: Any, card: ModelCard, tower: Path, device: str) -> None:
        self.folder = path
        self.card = card
        self.weights = card.weights
        self.vocabulary = card.vocabulary
        self.image_size = card.image_size
        self._session = session
        self._tower = tower
        self._device = device

    @classmethod
    def from_file(
        cls, path: Path, *, device: str = "auto", precision: str = "auto", tower: Path | None = None
    ) -> OnnxScorer:
        """Load a model, after comparing it with the checksum beside it, if that is there.

        Args:
            device: "auto" and "cpu", or "cuda" if this onnxruntime has it. precision: "auto" or the file's own.
            tower: the text tower's file, if it is not the one that the model names.

        Raises:
            InputError: no such file, not an ONNX model, not made by `focus export`, or changed since.
            UsageError: it has another precision.
            RequirementError: onnxruntime is not installed or does not load, or it does not support the device.
        """
        require_extra("onnx", "onnxruntime", purpose="An exported model")
        again = "Export it again: focus export -c RUN -o FILE.onnx --force"
        if not path.is_file():
            raise InputError(f"No such model: {path}.", "Make it with: focus export -c RUN -o FILE.onnx")
        checksums = checksum_path(path)
        if checksums.is_file() and file_sha256(path) not in checksums.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{path} has changed since it was exported: see {checksums.name}.", again)
        session = open_session(path, device)
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise InputError(
                f"{path} was not made by focus export: it does not say what its inputs and outputs mean.",
                "Make one: focus export -c RUN -o FILE.onnx",
            )
        try:
            card = ModelCard.from_json(text)
        except ValueError as error:
            raise InputError(f"{path}: its description is {error}.", again) from error
        if precision not in ("auto", card.precision):
            raise UsageError(
                f"{path} is a model in {card.precision}; an exported model has one precision, not {precision}.",
                "Omit --precision, or export another model: focus export [--int8]",
            )
        return cls(path, session, card, tower or path.parent / Path(card.tower).name, device)

    @property
    def default_texts(self) -> tuple[Text, ...]:
        return self.card.texts

    def text(self, words: str, *, region: str | None = None) -> Text:
        """A text from words; for a fixed model one of its own texts.

        Raises:
            UsageError: no word, an unknown region, or a text that a fixed model was not exported with.
        """
        if self.card.kind == "dynamic":
            return super().text(words, region=region)
        found = [text for text in self.card.texts if is_called(text, words)]
        if found and region in (None, found[0].region):
            return found[0]
        known = ", ".join(text.phrase for text in self.card.texts[:8])
        raise UsageError(
            f'{self.folder.name} was exported with fixed texts; it cannot be asked for "{words}"'
            + (f" in region {region}." if found else "."),
            f"It knows {known}{', ...' if len(self.card.texts) > 8 else ''}. For others: focus export --texts FILE; for any: "
            "focus export --dynamic",
        )

    def score_fn(self, texts: Sequence[Text]) -> ScorePixels:
        """Encode the texts once, and return what scores uint8 pixels [B, H, W, 3] against them: [B, Z].

        Raises:
            UsageError: a text is empty, too long, or not one of a fixed model's.
            InputError: the text tower's file is missing, or not the one that the model was exported with.
        """
        if self.card.kind == "dynamic":
            features = self._encode(texts)
            return lambda pixels: self._session.run(None, {PIXELS: pixels, TEXTS: features})[0]
        places = {normalise_phrase(text.phrase): index for index, text in enumerate(self.card.texts)}
        columns = [places[normalise_phrase(self.text(text.phrase).phrase)] for text in texts]
        return lambda pixels: self._session.run(None, {PIXELS: pixels})[0][:, columns]

    def _encode(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Text features [Z, F]; the text tower is loaded for them and not kept."""
        assert self.card.text_inputs is not None
        inputs: dict[str, NDArray] = {IDS: self.card.text_inputs.ids(texts)}
        rows = self.card.text_inputs.extra(texts, self.vocabulary.trained)
        if rows is not None:
            inputs[ROWS] = rows
        if not self._tower.is_file():
            raise InputError(
                f"{self.folder} has its text tower in {self._tower.name}, which is not beside it.",
                "Keep the two files together, or export again: focus export --dynamic",
            )
        if file_sha256(self._tower) != self.card.tower_sha256:
            raise InputError(
                f"{self._tower} is not the text tower that {self.folder.name} was exported with.",
                "Export both again: focus export --dynamic --force",
            )
        features: NDArray[np.float32] = open_session(self._tower, self._device).run(None, inputs)[0]
        return features


def open_session(path: Path, device: str = "auto") -> Any:
    """A session of onnxruntime, on OMP_NUM_THREADS threads if that is set.

    Raises:
        InputError: the file is not an ONNX model. RequirementError: no such device here. UsageError: unknown device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > 0:
        # PyTorch reads this variable; onnxruntime's own thread pool does not.
        options.intra_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_providers(device, onnxruntime))
    except (UsageError, RequirementError):
        raise
    except Exception as error:  # onnxruntime's own exceptions have no common base
        # The last part of lines such as "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from ... failed:..."
        reason = (str(error).splitlines() or [""])[0].rpartition(" : ")[2].rpartition("failed:")[2].rstrip(". ")
        raise InputError(
            f"{path} cannot be read as an ONNX model: {reason or type(error).__name__}.",
            "Export it again: focus export -c RUN -o FILE.onnx --force",
        ) from error


def _providers(device: str, onnxruntime: Any) -> list[Any]:
    kind, _, index = device.partition(":")
    if device in ("auto", "cpu"):
        return ["CPUExecutionProvider"]
    if kind != "cuda" or not (index == "" or index.isdecimal()):
        raise UsageError(f'An exported model does not run on "{device}".', "Use auto, cpu, cuda or cuda:N.")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RequirementError(
            f"No CUDA for --device {device}: onnxruntime {onnxruntime.__version__} is a CPU build.",
            "Use --device cpu, or install onnxruntime-gpu instead.",
        )
    return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"]
