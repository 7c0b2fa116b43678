"""What an exported model says about itself: texts, thresholds, preprocessing and origin, as JSON in the file. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from focuscli.data.texts import Text
from focuscli.inference.vocabulary import Vocabulary
from focuscli.models.text_inputs import TextInputs

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
            given, reading = values.pop("input"), values.pop("reading")
            known = Vocabulary(**values.pop("vocabulary"))
            vocabulary = replace(
                known,
                trained=_texts(known.trained),
                attributes=_texts(known.attributes),
                declared=_texts(known.declared),
                regions=tuple(known.regions),
            )
            return cls(
                **{**values, "texts": _texts(values["texts"])},
                image_size=(given["size"][0], given["size"][1]),
                mean=tuple(given["mean"]),
                std=tuple(given["std"]),
                vocabulary=vocabulary,
                text_inputs=None if reading is None else TextInputs(**reading),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"damaged: {error!r}") from error

    def _label(self, text: Text) -> Mapping[str, Any]:
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


def _texts(values: Any) -> tuple[Text, ...]:
    return tuple(Text(**value) for value in values)
