"""The model of a method."""

from __future__ import annotations

import importlib

from focuscli.config import method_entry
from focuscli.models.base import Method


def method_class(name: str) -> type[Method]:
    """The model class of a method.

    Raises:
        UsageError: no such method.
    """
    module, _, attribute = method_entry(name).place.partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found
