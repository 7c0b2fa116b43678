"""What an exported model says of itself: texts, thresholds, preprocessing and origin, as JSON in the file. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from focuscli.data.texts import Text
from focuscli.inference.vocabulary import Vocabulary
from focuscli.models.text_inputs import TextInputs

KEY = "focus"
"""The key of the JSON text among the model's metadata."""
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
        reading, tower, tower_sha256: of a dynamic model: what its text tower is fed, the tower's file beside the
            model's, and its digest.
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
    reading: TextInputs | None = None
    tower: str = ""
    tower_sha256: str = ""

    def to_json(self) -> str:
        """The card as one JSON object; "labels" and "input" are for whoever uses the model without this program."""
        values = asdict(self)
        for name, key in (("image_size", "size"), ("mean", "mean"), ("std", "std")):
            values.setdefault("input", {})[key] = values.pop(name)
        values["input"] |= {
            "name": PIXELS,
            "layout": "uint8 [batch, height, width, 3], RGB",
            "resize": "to size = (height, width) with Pillow's bicubic filter, aspect ratio not kept, nothing cropped",
            "normalisation": "inside the graph: (pixels / 255 - mean) / std",
        }
        values["output"] = {"name": SCORES, "layout": "float32 [batch, texts]", "decision": "score > threshold"}
        values["labels"] = [self._label(text) for text in self.texts]
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Undo `to_json`.

        Raises:
            ValueError: it is no card, or one of another version.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ValueError(f"of another version of focus (want format {FORMAT})")
            given, known = values.pop("input"), values.pop("vocabulary")
            for described in ("output", "labels"):
                values.pop(described)
            reading = values.pop("reading")
            return cls(
                **{**values, "texts": _texts(values["texts"])},
                image_size=(given["size"][0], given["size"][1]),
                mean=tuple(given["mean"]),
                std=tuple(given["std"]),
                vocabulary=Vocabulary(
                    **{
                        **known,
                        "regions": tuple(known["regions"]),
                        **{name: _texts(known[name]) for name in ("trained", "attributes", "declared")},
                    }
                ),
                reading=None if reading is None else TextInputs(**reading),
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
    """Where the text tower of a dynamic model lies: beside it."""
    return target.with_name(f"{target.stem}.texts.onnx")


def _texts(values: list[dict[str, Any]]) -> tuple[Text, ...]:
    return tuple(Text(**value) for value in values)
