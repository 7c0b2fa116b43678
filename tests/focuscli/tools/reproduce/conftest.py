"""Prepared datasets that exist on paper only, for plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from focuscli.tools.reproduce.plan import Prepared

COUNTS = {
    "peta": {"train": 9500, "val": 1900, "test": 7600},
    "pa100k": {"train": 80000, "val": 10000, "test": 10000},
    "rapv1": {"train": 33268, "test": 8317},
}


@pytest.fixture
def prepared():
    """A function that gives snapshots of the official datasets by name; `images` says whether they have any."""

    def build(*names: str, images: bool = True):
        splits = {"peta": "official:0", "rapv1": "official:0"}
        return {
            name: Prepared(name, Path("/data") / name, f"print-{name}", COUNTS[name], splits.get(name), images)
            for name in names
        }

    return build
