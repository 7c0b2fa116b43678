"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real research data; the test is skipped where FOCUS_SHARED_DATA does not name one."""
    value = os.environ.get("FOCUS_SHARED_DATA")
    if not value:
        pytest.skip("FOCUS_SHARED_DATA is not set: tests on real data need it")
    folder = Path(value).resolve()
    if not folder.is_dir():
        pytest.skip(f"FOCUS_SHARED_DATA={value} is no folder")
    return folder


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own FOCUS_HOME or runs, and none downloads anything."""
    base = tmp_path_factory.mktemp("focus-home")
    monkeypatch.setenv("FOCUS_HOME", str(base))
    monkeypatch.setenv("FOCUS_RUNS", str(base / "runs"))
    monkeypatch.delenv("FOCUS_OFFLINE", raising=False)
