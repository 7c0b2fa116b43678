"""Prepared datasets that exist on paper only, for plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import builtin_schema
from focuscli.tools.reproduce.tables import official


@pytest.fixture
def prepared():
    """A function that gives the official datasets by name."""

    def build(*names: str, split: str = "official:0", counts: dict[str, int] | None = None):
        found = {}
        for name in names:
            sizes = counts or official()[name]["counts"]
            splits = np.repeat([*sizes], [*sizes.values()])
            content = ((), splits, splits[:0], np.zeros((0, 0), np.int8))
            found[name] = DatasetFolder(Path("/data") / name, builtin_schema("peta"), *content, {"split": split})
        return found

    return build
