"""Text search over a gallery of synthetic features: exact and in two stages."""

from __future__ import annotations

import importlib.util

from focuscli.bench.results import Outcome
from focuscli.bench.settings import Settings
from focuscli.bench.timing import Progress
from focuscli.errors import RequirementError


def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Seconds a query.

    Raises:
        RequirementError: this version of focus has no gallery.
    """
    if importlib.util.find_spec("focuscli.gallery") is None:
        raise RequirementError("This version of focus has no gallery to search.", "Use a version with focus index.")
    raise NotImplementedError
