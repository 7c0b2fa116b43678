"""Dataset folders: written whole or not at all, read back the same, and never in place of somebody's own files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.folder import DatasetFolder, read_folder, write_folder
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError

IMAGES = ("a.png", "b.png", "c.png", "d/e.png")
SPLITS = np.array(["test", "train", "unused", "train"])
PERSONS = np.array(["1", "2", "", "2"])
LABELS = np.array([[1, 0, 0, 1, 2], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]], np.int8)


def write(target: Path, schema: AttributeSchema, **change: Any) -> DatasetFolder:
    fields = {"images": IMAGES, "splits": SPLITS, "persons": PERSONS, "labels": LABELS, "info": {}}
    folder = DatasetFolder(target, schema, **{key: change.pop(key, value) for key, value in fields.items()})
    return write_folder(folder, **{"overwrite": False, **change})


def test_a_written_folder_reads_back_the_same(tmp_path: Path, small_schema: AttributeSchema) -> None:
    info = {"source": "somewhere", "warnings": ["mind the gap"]}
    files = {"images/a.png": b"pixels", "note.txt": "caf\xe9"}
    written = write(tmp_path / "set", small_schema, extra_files=files, info=info, schema_comment="By hand.")
    read = read_folder(tmp_path / "set")
    for folder in (written, read):
        assert folder.path == tmp_path / "set"
        assert folder.schema == small_schema
        assert folder.images == IMAGES
        assert folder.splits.tolist() == SPLITS.tolist()
        assert folder.persons.tolist() == PERSONS.tolist()
        assert folder.labels.dtype == np.int8
        assert folder.labels.tolist() == LABELS.tolist()
        assert folder.info == {**info, "counts": read.counts, "fingerprint": read.fingerprint}
    assert written.fingerprint == read.fingerprint
    assert json.loads((tmp_path / "set/prepare.json").read_text()) == read.info
    assert (tmp_path / "set/images/a.png").read_bytes() == b"pixels"
    assert (tmp_path / "set/note.txt").read_text(encoding="utf-8") == "caf\xe9"
    assert (tmp_path / "set/schema.toml").read_text().startswith("# By hand.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_splits_are_selected_by_name(tmp_path: Path, small_schema: AttributeSchema) -> None:
    folder = write(tmp_path / "set", small_schema, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    rows = {"train": [1, 3], "trainval": [1, 3], "unused": [2], "all": [0, 1, 2, 3]}
    assert {split: folder.select(split).tolist() for split in rows} == rows
    assert folder.select("train").dtype == np.int64
    assert folder.counts == {"train": 2, "test": 1, "unused": 1}
    for root, expected in ((None, "set/d/e.png"), ("pictures", "set/pictures/d/e.png"), ("/far", "/far/d/e.png")):
        moved = write(tmp_path / "set", small_schema.model_copy(update={"image_root": root}), dry_run=True)
        assert moved.image_path(3) == tmp_path / expected
    with pytest.raises(InputError, match='no split "val"') as caught:
        folder.select("val")
    assert "train (2 images), test (1 image), unused (1 image)" in (caught.value.hint or "")


def test_the_fingerprint_is_over_the_content(tmp_path: Path, small_schema: AttributeSchema) -> None:
    def fingerprint(schema: AttributeSchema = small_schema, **change: Any) -> str:
        return write(tmp_path / "set", schema, dry_run=True, **change).fingerprint

    # Old runs compare it, so that it may never change for the same folder.
    assert fingerprint() == "fedea0ce113db8c79bb7204835941ea8f545454fc6a1d463d4737e69958b5cdb"
    assert fingerprint(small_schema.model_copy(update={"image_root": "/far"})) == fingerprint()
    assert fingerprint(info={"source": "elsewhere"}, schema_comment="words") == fingerprint()
    changes: list[dict[str, Any]] = [
        {"images": ("a.png", "b.png", "c.png", "d.png")},
        {"splits": np.array(["test", "train", "train", "train"])},
        {"persons": np.array(["1", "2", "3", "2"])},
        {"labels": LABELS[::-1]},
    ]
    assert len({fingerprint(), *(fingerprint(**change) for change in changes)}) == 5


def test_invalid_names_are_refused_and_nothing_is_written(tmp_path: Path, small_schema: AttributeSchema) -> None:
    for image, words in (("a.png", 'image 3: image "a.png" is listed twice'), ("../c.png", "leads out")):
        with pytest.raises(InputError, match=words):
            write(tmp_path / "set", small_schema, images=("a.png", "b.png", image, "d.png"))
    assert list(tmp_path.iterdir()) == []


def test_only_a_prepared_dataset_is_replaced_and_only_on_request(tmp_path: Path, small_schema: AttributeSchema) -> None:
    write(tmp_path / "set", small_schema, extra_files={"old.txt": "x"})
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "set", small_schema)
    assert (tmp_path / "set/old.txt").is_file()
    write(tmp_path / "set", small_schema, overwrite=True)
    assert not (tmp_path / "set/old.txt").exists()
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos", small_schema, overwrite=True)  # an empty folder is nobody's
    (tmp_path / "photos/prepare.json").rename(tmp_path / "photos/mine.jpg")
    for target in ("photos", "photos/mine.jpg"):
        with pytest.raises(InputError, match="was not written by focus prepare"):
            write(tmp_path / target, small_schema, overwrite=True)
    assert (tmp_path / "photos/mine.jpg").is_file()


def test_prepare_json_may_be_missing_but_not_damaged(tmp_path: Path, small_schema: AttributeSchema) -> None:
    folder = tmp_path / "set"
    write(folder, small_schema, info={"labels_only": True})
    with pytest.raises(InputError, match="prepared with --labels-only: it has no images"):
        read_folder(folder).require_images()
    (folder / "prepare.json").unlink()
    assert read_folder(folder).info == {}
    (folder / "prepare.json").write_text("{")
    with pytest.raises(InputError, match=r"prepare\.json is damaged"):
        read_folder(folder)
    (folder / "schema.toml").unlink()
    with pytest.raises(InputError, match=r"schema\.toml"):
        read_folder(folder)


WRITER = """
import dataclasses, itertools, sys
from pathlib import Path
from focuscli.data.folder import read_folder, write_folder

both = [dataclasses.replace(read_folder(Path(path)), path=Path(sys.argv[3])) for path in sys.argv[1:3]]
for dataset in itertools.cycle(both):
    write_folder(dataset, overwrite=True)
    print("written", flush=True)
"""


def test_a_reader_sees_the_old_or_the_new_dataset_whenever_the_writer_is_killed(coloured_dataset, crops_as, tmp_path):
    """The two differ in their attributes and in their labels."""
    first = read_folder(coloured_dataset)
    schema = first.schema.model_copy(update={"attributes": first.schema.attributes[::-1]})
    second = crops_as(schema, 1 - first.labels[:, ::-1], "second")
    kinds = {first.fingerprint: 0, second.fingerprint: 0}
    line = [sys.executable, "-c", WRITER, str(coloured_dataset), str(second.path), str(tmp_path / "both")]
    schema_file = tmp_path / "both" / "schema.toml"
    for pause in (0.0, 0.003, 0.011, 0.02, 0.03):
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline()
            end = time.monotonic() + 0.3 + pause
            while time.monotonic() < end:
                kinds[read_folder(tmp_path / "both").fingerprint] += 1
                assert all(os.path.exists(schema_file) for _ in range(3000))
            process.kill()
        kinds[read_folder(tmp_path / "both").fingerprint] += 1
    assert min(kinds.values()) > 0
    write_folder(dataclasses.replace(first, path=tmp_path / "both"), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "second"]
