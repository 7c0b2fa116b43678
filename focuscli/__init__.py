"""FOCUS: open-domain pedestrian attribute recognition.

from focuscli import Recognizer

recognizer = Recognizer.from_checkpoint("runs/latest-run")
recognizer.scores(["crop.jpg"], ["backpack", "red scarf"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from focuscli.inference.recognizer import Recognizer

__version__ = "0.3.0"
__all__ = ["Recognizer", "__version__"]


def __getattr__(name: str) -> object:
    """`Recognizer`, `losses` and `metrics` bring torch or numpy with them and are loaded on first use."""
    if name == "Recognizer":
        from focuscli.inference.recognizer import Recognizer

        return Recognizer
    if name in ("losses", "metrics"):
        return import_module({"losses": "focuscli.models.losses", "metrics": "focuscli.metrics"}[name])
    raise AttributeError(f"module focuscli has no attribute {name!r}")
