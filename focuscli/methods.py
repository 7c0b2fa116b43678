"""The table of methods: what `--method` can name. To add one, write its module and a row here; imports no torch.

A method turns images and texts into scores, and in training into losses (`focuscli.models.base.Method`); data, loop,
evaluation and pictures are the same for all.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from focuscli.errors import UsageError

if TYPE_CHECKING:
    from focuscli.models.base import Method

ZERO_SHOT = "clip"
"""The method that is used as it is; also the name of its checkpoint: `-c clip`."""
PLAIN_CLIP = {"rlp": False, "mgmt": False, "avfe": False}


@dataclass(frozen=True)
class MethodEntry:
    """A row of the table.

    Attributes:
        title: what it is, in a line.
        place: module:class of its model.
        changes: configuration that makes the method what it is, over the preset and under file and flags.
        trainable: False for a method that is used with CLIP's weights as they are.
    """

    title: str
    place: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trainable: bool = True


METHODS: dict[str, MethodEntry] = {
    "focus": MethodEntry("FOCUS: Mix Tokens, attribute-guided extraction, RACL", "focuscli.models.focus:FocusModel"),
    ZERO_SHOT: MethodEntry(
        "CLIP as it is: class token against plain phrases, no training",
        "focuscli.models.focus:FocusModel",
        {"model": PLAIN_CLIP},
        trainable=False,
    ),
    "clip-ft": MethodEntry(
        "CLIP fine-tuned: class token against plain phrases, many-to-many loss",
        "focuscli.models.focus:FocusModel",
        {"model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
    "poar": MethodEntry(
        "POAR: region tokens behind fixed patch masks, many-to-many loss",
        "focuscli.models.poar:PoarModel",
        {"model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
    "vtb": MethodEntry(
        "VTB: texts and patches fused by the last block, one classifier per attribute, weighted BCE",
        "focuscli.models.vtb:VtbModel",
        {"data": {"complements": False}, "model": PLAIN_CLIP, "loss": {"lsim": 0.0, "racl": 0.0}},
    ),
}


def method_entry(name: str) -> MethodEntry:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise UsageError(f'Unknown method "{name}".', f"{hint}Known: {', '.join(METHODS)}.")
    return METHODS[name]


def method_class(name: str) -> type[Method]:
    """The model class of a method.

    Raises:
        UsageError: no such method.
    """
    module, _, attribute = method_entry(name).place.partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found
