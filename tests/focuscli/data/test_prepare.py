"""Preparing official downloads and tables: what is kept, refused, skipped and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from focuscli.data.folder import read_folder
from focuscli.data.prepare import prepare
from focuscli.data.readers.peta import read_peta
from focuscli.errors import InputError


def test_peta_becomes_a_folder_that_points_at_its_images(fake_peta: Any, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = tmp_path / "out"
    prepared = prepare("peta", fake_peta.root.parent, out, progress=lambda *numbers: calls.append(numbers))
    folder, source = read_folder(out), read_peta(fake_peta.root)
    assert folder.images == tuple(fake_peta.images)
    assert folder.labels.tolist() == fake_peta.labels.tolist()
    assert folder.persons.tolist() == source.persons.tolist()
    assert folder.root == fake_peta.root.resolve()
    assert sorted(path.name for path in out.iterdir()) == ["labels.csv", "prepare.json", "schema.toml"]
    for split, rows in fake_peta.partition.items():
        assert folder.select(split).tolist() == rows.tolist()
    assert folder.info == prepared.info
    assert folder.info["published"] == {"train": 9500, "val": 1900, "test": 7600}
    assert set(source.warnings) < set(folder.info["warnings"])
    count = len(folder.images)
    assert calls[-1] == (count, count)
    text = "\n".join(folder.info["warnings"])
    assert "known persons in test, with" in text
    assert "other sizes than the published ones" in text
    own = prepare("peta", fake_peta.root.parent, out, split="identity", overwrite=True)
    assert "persons in test" not in "\n".join(own.info["warnings"])
    assert own.fingerprint != folder.fingerprint == prepared.fingerprint


def test_a_source_is_never_overwritten(fake_peta: Any) -> None:
    (fake_peta.root.parent / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="holds the source"):
        prepare("peta", fake_peta.root, fake_peta.root.parent, overwrite=True)
    assert (fake_peta.root / "MIT").is_dir()
