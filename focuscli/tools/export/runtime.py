"""An exported model: what it says about itself, as JSON in the file, and its scores by onnxruntime.

Imports no torch, no pydantic, nothing that is slow to import.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.data.texts import Text
from focuscli.engine.scoring import ScorePixels
from focuscli.errors import InputError, RequirementError, UsageError
from focuscli.inference.predict import Scorer
from focuscli.inference.vocabulary import Vocabulary, is_called
from focuscli.models.text_inputs import TextInputs
from focuscli.storage.extras import require_extra
from focuscli.storage.files import file_sha256

KEY = "focus"
"""The key of the JSON text in the model's metadata."""
FORMAT = 1
PIXELS, TEXTS, SCORES, IDS, ROWS = "pixels", "texts", "scores", "ids", "rows"
"""Names of the graphs' inputs and outputs."""

Kind = Literal["fixed", "dynamic"]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class ModelCard:
    """The metadata of an exported model.

    Attributes:
        kind: "fixed": the texts are part of the graph; "dynamic": they are an input, made by a second file.
        texts: of the columns of a fixed model's scores; of a dynamic one the trained attributes.
        threshold_source: on which images the thresholds were chosen.
        checkpoint, fingerprint, weights, trained_on: what was exported, see `focuscli.storage.fingerprint`.
        text_inputs, tower, tower_sha256: of a dynamic model: how the inputs of its text tower are made, the tower's file
            name, and the SHA-256 of that file.
    """

    kind: Kind
    precision: Precision
    method: str
    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    texts: tuple[Text, ...]
    vocabulary: Vocabulary
    threshold_source: str
    checkpoint: str
    fingerprint: str
    weights: str
    trained_on: str
    made_by: str
    text_inputs: TextInputs | None = None
    tower: str = ""
    tower_sha256: str = ""

    def to_json(self) -> str:
        """The card as one JSON object; "labels", "input" and "output" are for those who use the model without focus."""
        values = asdict(self)
        values["reading"] = values.pop("text_inputs")
        values["input"] = {
            "size": values.pop("image_size"),
            "mean": values.pop("mean"),
            "std": values.pop("std"),
            "name": PIXELS,
            "layout": "uint8 [batch, height, width, 3], RGB",
            "resize": "to size = (height, width) with Pillow's bicubic filter, ignoring the aspect ratio, no cropping",
            "normalisation": "inside the graph: (pixels / 255 - mean) / std",
        }
        values["output"] = {"name": SCORES, "layout": "float32 [batch, texts]", "decision": "score > threshold"}
        values["labels"] = [self._label(text) for text in self.texts]
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Undo `to_json`.

        Raises:
            ValueError: it is not a card, or one of another version.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ValueError(f"from another version of focus (expected format {FORMAT})")
            for described in ("output", "labels"):
                del values[described]
            given, reading, known = (values.pop(name) for name in ("input", "reading", "vocabulary"))
            known |= {
                name: tuple(Text(**text) for text in known[name]) for name in ("trained", "attributes", "declared")
            }
            values["texts"] = tuple(Text(**text) for text in values["texts"])
            return cls(
                **values,
                mean=tuple(given["mean"]),
                std=tuple(given["std"]),
                image_size=(given["size"][0], given["size"][1]),
                vocabulary=Vocabulary(**{**known, "regions": tuple(known["regions"])}),
                text_inputs=None if reading is None else TextInputs(**reading),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"damaged: {error!r}") from error

    def _label(self, text: Text) -> dict[str, Any]:
        threshold, source = self.vocabulary.threshold(text)
        return {
            "name": text.attribute or text.phrase,
            "phrase": text.phrase,
            "region": text.region,
            "region_source": self.vocabulary.region_source(text),
            "seen": self.vocabulary.is_seen(text),
            "threshold": None if math.isnan(threshold) else threshold,
            "threshold_source": source,
        }


def tower_path(target: Path) -> Path:
    """The text tower of a dynamic model, beside it."""
    return target.with_name(f"{target.stem}.texts.onnx")


def checksum_path(target: Path) -> Path:
    """The checksums of a model's files, beside it, as `sha256sum --check` reads them."""
    return target.with_name(f"{target.name}.sha256")


class OnnxScorer(Scorer):
    """A model that `focus export` wrote, run by onnxruntime."""

    def __init__(self, path: Path, session: Any, card: ModelCard, device: str) -> None:
        self.folder, self.card = path, card
        self.weights, self.vocabulary, self.image_size = card.weights, card.vocabulary, card.image_size
        self._session, self._device = session, device

    @classmethod
    def from_file(cls, path: Path, *, device: str = "auto", precision: str = "auto") -> OnnxScorer:
        """Load a model, after comparing it with the checksum beside it, if that is there.

        Args:
            device: "auto" and "cpu", or "cuda" if this onnxruntime has it. precision: "auto" or the file's own.

        Raises:
            InputError: no ONNX model, not made by `focus export`, or changed since. UsageError: another precision.
            RequirementError: onnxruntime is not installed or does not load, or it does not support the device.
        """
        require_extra("onnx", "onnxruntime", purpose="An exported model")
        again = "Export it again: focus export -c RUN -o FILE.onnx --force"
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
        return cls(path, session, card, device)

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
        phrases = [text.phrase for text in self.card.texts]
        known = ", ".join(phrases if len(phrases) <= 8 else [*phrases[:8], "..."])
        raise UsageError(
            f'{self.folder.name} was exported with fixed texts; it cannot be asked for "{words}"'
            + (f" in region {region}." if found else "."),
            f"It knows {known}. For others: focus export --texts FILE; for any: focus export --dynamic",
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
        columns = [self.card.texts.index(self.text(text.phrase)) for text in texts]
        return lambda pixels: self._session.run(None, {PIXELS: pixels})[0][:, columns]

    def _encode(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Text features [Z, F]; the text tower is loaded for them and not kept."""
        assert self.card.text_inputs is not None
        inputs: dict[str, NDArray] = {IDS: self.card.text_inputs.ids(texts)}
        rows = self.card.text_inputs.extra(texts, self.vocabulary.trained)
        if rows is not None:
            inputs[ROWS] = rows
        tower = self.folder.with_name(Path(self.card.tower).name)
        if not tower.is_file():
            raise InputError(
                f"{self.folder} has its text tower in {tower.name}, which is not beside it.",
                "Keep the two files together, or export again: focus export --dynamic",
            )
        if file_sha256(tower) != self.card.tower_sha256:
            raise InputError(
                f"{tower} is not the text tower that {self.folder.name} was exported with.",
                "Export both again: focus export --dynamic --force",
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
    if threads.isdecimal() and int(threads) > 0:
        # PyTorch reads this variable; onnxruntime's own thread pool does not.
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
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(index or 0)}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        # The last part of lines such as "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from ... failed:..."
        reason = (str(error).splitlines() or [""])[0].rpartition(" : ")[2].rpartition("failed:")[2].rstrip(". ")
        raise InputError(
            f"{path} cannot be read as an ONNX model: {reason or type(error).__name__}.",
            "Export it again: focus export -c RUN -o FILE.onnx --force",
        ) from error
