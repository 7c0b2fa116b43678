"""The tables of methods and presets: what `--method` and `--model` can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from focuscli.errors import UsageError, did_you_mean
from focuscli.storage.paths import ZERO_SHOT

PLAIN_CLIP = {"model": {"rlp": False, "mgmt": False, "avfe": False}}
NO_SIMILARITY_LOSS: dict[str, dict[str, Any]] = {**PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}}


@dataclass(frozen=True)
class MethodEntry:
    """A row of the table of methods.

    Attributes:
        changes: configuration that defines the method, over the preset and under file and flags.
        model: module:class of its model.
        trainable: False for a method that uses CLIP's weights without training.
    """

    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model: str = "focuscli.models.focus:FocusModel"
    trainable: bool = True


METHODS: dict[str, MethodEntry] = {
    "focus": MethodEntry(),
    ZERO_SHOT: MethodEntry(PLAIN_CLIP, trainable=False),
    "clip-ft": MethodEntry(NO_SIMILARITY_LOSS),  # fine-tuned: the class token against plain phrases
    "poar": MethodEntry(NO_SIMILARITY_LOSS, "focuscli.models.poar:PoarModel"),
    "vtb": MethodEntry({"data": {"complements": False}, **NO_SIMILARITY_LOSS}, "focuscli.models.vtb:VtbModel"),
}


def method_entry(name: str) -> MethodEntry:
    """The row of a method.

    Raises:
        UsageError: there is no such method.
    """
    if name not in METHODS:
        raise UsageError(f'Unknown method "{name}".', did_you_mean(name, METHODS))
    return METHODS[name]


PRESETS: dict[str, dict[str, Any]] = {
    "vit-b16": {"model": {"preset": "vit-b16"}},
    "tiny": {
        "model": {"preset": "tiny", "image_size": [128, 64]},
        # Of the few epochs that a CPU has time for, weak augmentation makes more.
        "augment": {"margin": 6, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "erase": 0.0},
        "loss": {"racl_ramp": 1.0},  # from scratch, full weight from the start collapses
        "train": {
            "learning_rate": 5e-4,
            "weight_decay": 0.05,
            "batch_size": 64,
            "epochs": 30,
            "warmup_share": 0.1,
            "ema": 0.99,
            "max_grad_norm": 1.0,
        },
    },
}
"""What `--model NAME` changes against the defaults; files, flags and --set override it."""
