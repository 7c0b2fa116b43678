from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data import folder as folder_module
from focuscli.data.folder import DatasetFolder, read_folder, refuse_overlap, write_folder
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError, RequirementError

IMAGES = ["a.png", "b.png", "c.png", "d/e.png"]
SPLITS = ["test", "train", "unused", "train"]
PERSONS = ["1", "2", "", "2"]
LABELS = np.array([[1, 0, 0, 1, 2], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]])


def write(target: Path, schema: AttributeSchema, **change: Any) -> DatasetFolder:
    content = {"images": IMAGES, "splits": SPLITS, "persons": PERSONS, "labels": LABELS, "overwrite": False, **change}
    return write_folder(target, schema, **content)


def test_a_written_folder_reads_back_the_same(tmp_path: Path, small_schema: AttributeSchema) -> None:
    info = {"source": "somewhere", "warnings": ["mind the gap"]}
    files = {"images/a.png": b"pixels", "note.txt": "caf\xe9"}
    written = write(tmp_path / "set", small_schema, extra_files=files, info=info, schema_comment="By hand.")
    read = read_folder(tmp_path / "set")
    for folder in (written, read):
        assert folder.path == tmp_path / "set"
        assert folder.schema == small_schema
        assert folder.images == tuple(IMAGES)
        assert folder.splits.tolist() == SPLITS
        assert folder.persons.tolist() == PERSONS
        assert folder.labels.dtype == np.int8
        assert folder.labels.tolist() == LABELS.tolist()
        assert folder.info == {**info, "fingerprint": read.fingerprint}
    assert written.fingerprint == read.fingerprint
    assert (tmp_path / "set/images/a.png").read_bytes() == b"pixels"
    assert (tmp_path / "set/note.txt").read_text(encoding="utf-8") == "caf\xe9"
    assert (tmp_path / "set/schema.toml").read_text().startswith("# By hand.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_splits_are_selected_by_name(tmp_path: Path, small_schema: AttributeSchema) -> None:
    folder = write(tmp_path / "set", small_schema)
    assert folder.select("train").tolist() == [1, 3]
    assert folder.select("train").dtype == np.int64
    assert folder.select("trainval").tolist() == [1, 3]
    assert folder.select("unused").tolist() == [2]
    assert folder.select("all").tolist() == [0, 1, 2, 3]
    assert folder.counts == {"train": 2, "test": 1, "unused": 1}
    with pytest.raises(InputError, match='no split "val"') as caught:
        folder.select("val")
    assert "train (2 images), test (1 images), unused (1 images)" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("root", "expected"), [(None, "{set}/d/e.png"), ("pictures", "{set}/pictures/d/e.png"), ("/far", "/far/d/e.png")]
)
def test_image_paths_start_at_the_image_root(
    tmp_path: Path, small_schema: AttributeSchema, root: str | None, expected: str
) -> None:
    folder = write(tmp_path / "set", small_schema.model_copy(update={"image_root": root}))
    assert folder.image_path(3) == Path(expected.format(set=tmp_path / "set"))


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({"images": ["a.png", "b.png", "c.png", "d.png"]}, True),
        ({"splits": ["test", "train", "train", "train"]}, True),
        ({"persons": ["1", "2", "3", "2"]}, True),
        ({"labels": LABELS[::-1]}, True),
        ({"info": {"source": "elsewhere"}}, False),
        ({"schema_comment": "words"}, False),
    ],
)
def test_the_fingerprint_is_over_the_content(
    tmp_path: Path, small_schema: AttributeSchema, change: dict[str, Any], changes: bool
) -> None:
    plain = write(tmp_path / "plain", small_schema)
    other = write(tmp_path / "other", small_schema, **change)
    assert (plain.fingerprint != other.fingerprint) is changes
    moved = write(tmp_path / "moved", small_schema.model_copy(update={"image_root": "/far"}))
    assert plain.fingerprint == moved.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"images": IMAGES[:3]},
        {"splits": SPLITS[:3]},
        {"persons": PERSONS[:3]},
        {"labels": LABELS[:, :4]},
        {"labels": np.where(LABELS == 2, 3, LABELS)},
        {"labels": np.where(LABELS == 2, 257, LABELS)},
        {"images": ["a.png", "b.png", "a.png", "c.png"]},
        {"images": ["a.png", "b.png", "../c.png", "d.png"]},
        {"splits": ["test", "train", "", "train"]},
    ],
)
def test_invalid_content_is_refused_and_nothing_is_written(
    tmp_path: Path, small_schema: AttributeSchema, change: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        write(tmp_path / "set", small_schema, **change)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_wants_to_be_asked_for(tmp_path: Path, small_schema: AttributeSchema) -> None:
    write(tmp_path / "set", small_schema, extra_files={"old.txt": "x"})
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "set", small_schema)
    assert (tmp_path / "set/old.txt").is_file()
    write(tmp_path / "set", small_schema, overwrite=True)
    assert not (tmp_path / "set/old.txt").exists()


def test_a_folder_that_is_no_prepared_dataset_is_never_replaced(tmp_path: Path, small_schema: AttributeSchema) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="not a prepared dataset"):
        write(tmp_path / "photos", small_schema, overwrite=True)
    assert (tmp_path / "photos/mine.jpg").read_bytes() == b"precious"
    with pytest.raises(InputError, match="not a prepared dataset"):
        write(tmp_path / "photos/mine.jpg", small_schema, overwrite=True)


def test_a_full_disk_leaves_the_previous_folder(
    tmp_path: Path, small_schema: AttributeSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "set", small_schema)
    before = (tmp_path / "set/labels.csv").read_bytes()

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module, "format_labels", full)
    with pytest.raises(RequirementError, match="No space left"):
        write(tmp_path / "set", small_schema, overwrite=True, persons=["9"] * 4)
    assert (tmp_path / "set/labels.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_target_that_holds_its_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data/images").mkdir(parents=True)
    refuse_overlap(tmp_path / "data/images/out", [tmp_path / "data/images"])
    refuse_overlap(tmp_path / "dat", [tmp_path / "data"])
    for target in (tmp_path / "data", tmp_path / "data/images", tmp_path):
        with pytest.raises(InputError, match="holds the source"):
            refuse_overlap(target, [tmp_path / "elsewhere", tmp_path / "data/images"])


def test_a_folder_made_by_hand_has_no_info(tmp_path: Path, small_schema: AttributeSchema) -> None:
    write(tmp_path / "set", small_schema)
    (tmp_path / "set/prepare.json").unlink()
    assert read_folder(tmp_path / "set").info == {}
    (tmp_path / "set/prepare.json").write_text("{")
    with pytest.raises(InputError, match=r"prepare\.json is damaged"):
        read_folder(tmp_path / "set")


def test_a_folder_without_a_schema_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"schema\.toml"):
        read_folder(tmp_path)


def test_prepare_json_is_plain_json(tmp_path: Path, small_schema: AttributeSchema) -> None:
    write(tmp_path / "set", small_schema, info={"counts": {"train": 2}})
    assert json.loads((tmp_path / "set/prepare.json").read_text())["counts"] == {"train": 2}
