"""Labels counted per attribute and split, and the warnings about them that `prepare` and `train` show."""

from __future__ import annotations

import numpy as np

from focuscli.data.folder import DatasetFolder
from focuscli.data.labels_csv import SPLITS
from focuscli.data.schema import UNCERTAIN, schema_remarks
from focuscli.errors import listed

FEW_IMAGES = 10
MOST_NAMES = 10
_EFFECTS = {
    "train": "they cannot be learned",
    "val": "thresholds chosen on val mean nothing",
    "test": "most of their test metrics are undefined",
}
Counts = dict[str, dict[str, int]]
"""Split, or "all" -> present, absent and unknown."""


def label_counts(folder: DatasetFolder) -> dict[str, Counts]:
    """How many images have each attribute: in all, and per split that has images."""
    parts = {"all": np.ones(len(folder.images), np.bool_)}
    parts |= {split: folder.splits == split for split in SPLITS if split in folder.counts}
    words = {"present": 1, "absent": 0, "unknown": UNCERTAIN}
    found = {
        part: {word: (folder.labels[chosen] == label).sum(axis=0).tolist() for word, label in words.items()}
        for part, chosen in parts.items()
    }
    return {
        attribute.name: {part: {word: counts[word][row] for word in words} for part, counts in found.items()}
        for row, attribute in enumerate(folder.schema.attributes)
    }


def dataset_warnings(folder: DatasetFolder) -> list[str]:
    """Warnings about a dataset's labels, one for each kind of problem."""
    warnings = schema_remarks(folder.schema)
    evaluated = [attribute.evaluated for attribute in folder.schema.attributes]
    names = [attribute.name for attribute in folder.schema.evaluated]
    labels = folder.labels[:, evaluated]
    for value, word in ((1, "positive"), (0, "negative")):
        lacking: dict[str, list[str]] = {}
        for split in ("train", "val", "test"):
            chosen = labels[folder.splits == split]
            if len(chosen):
                for row in np.flatnonzero(~(chosen == value).any(axis=0)).tolist():
                    lacking.setdefault(names[row], []).append(split)
        if lacking:
            shown = [f"{name} ({', '.join(splits)})" for name, splits in lacking.items()]
            effects = [
                effect for split, effect in _EFFECTS.items() if any(split in splits for splits in lacking.values())
            ]
            warnings.append(f"No {word} labels: {listed(shown, MOST_NAMES)}; {', '.join(effects)}.")
    few = [f"{split} {count}" for split, count in folder.counts.items() if split != "unused" and count < FEW_IMAGES]
    if few:
        warnings.append(
            f"Splits of fewer than {FEW_IMAGES} images ({listed(few)}): metrics and thresholds mean little."
        )
    return warnings
