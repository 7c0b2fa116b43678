"""Official downloads: found where they lie, missing images refused, allowed or done without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focuscli.config import DataConfig
from focuscli.data.folder import read_folder
from focuscli.data.prepare import prepare_official
from focuscli.data.readers.annotations import find_file, find_image_root, rare_attributes
from focuscli.data.schema import AttributeSchema, builtin_schema
from focuscli.data.synthetic.official import write_official
from focuscli.engine.training_data import prepare_training_data
from focuscli.errors import InputError, UsageError

IMAGES = {"pa100k": "release_data/release_data", "rapv1": "RAP_dataset"}


@pytest.fixture(scope="module", params=["pa100k", "rapv1"])
def download(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("download") / request.param
    write_official(request.param, folder, images=30, seed=4)
    return request.param, folder


def with_gaps(download: tuple[str, Path], tmp_path: Path, gone: int) -> tuple[str, Path, list[str]]:
    """A copy of a download without its first so many images, and the names of these."""
    import shutil

    kind, source = download
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    names = read_names(kind, copy)
    for name in names[:gone]:
        (copy / IMAGES[kind] / name).unlink()
    return kind, copy, names


def read_names(kind: str, folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / IMAGES[kind]).iterdir())


def test_a_download_becomes_a_dataset(download: tuple[str, Path], tmp_path: Path) -> None:
    kind, source = download
    report = prepare_official(kind, source, tmp_path / "out")
    folder = read_folder(tmp_path / "out")
    assert report.images == len(folder.images) == 30
    assert sorted(folder.images) == read_names(kind, source)
    assert all(folder.image_path(row).is_file() for row in range(30))
    assert folder.schema.attributes == builtin_schema(kind).attributes
    assert any("Published metrics do not compare" in warning for warning in report.warnings)
    assert not folder.labels_only


def test_missing_images_are_counted_and_refused_or_left_out(download: tuple[str, Path], tmp_path: Path) -> None:
    kind, source, names = with_gaps(download, tmp_path, 3)
    with pytest.raises(InputError, match=rf"3 of 30 images of {kind} are missing") as caught:
        prepare_official(kind, source, tmp_path / "out")
    assert "--allow-missing" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    report = prepare_official(kind, source, tmp_path / "out", missing="allow")
    folder = read_folder(tmp_path / "out")
    assert sorted(folder.images) == names[3:]
    assert folder.info["missing"] == 3
    assert any(warning.startswith("3 of 30 images are missing and excluded") for warning in report.warnings)
    # Labels stay with their images.
    whole = tmp_path / "whole"
    prepare_official(kind, download[1], whole)
    complete = read_folder(whole)
    rows = [complete.images.index(name) for name in folder.images]
    assert np.array_equal(folder.labels, complete.labels[rows])
    assert folder.splits.tolist() == complete.splits[rows].tolist()


def test_labels_alone(download: tuple[str, Path], tmp_path: Path) -> None:
    kind, source, _ = with_gaps(download, tmp_path, 30)
    with pytest.raises(InputError, match=f"None of the 30 images of {kind}") as caught:
        prepare_official(kind, source, tmp_path / "out")
    assert "--labels-only" in str(caught.value.hint)
    prepare_official(kind, source, tmp_path / "out", missing="labels-only")
    folder = read_folder(tmp_path / "out")
    assert folder.labels_only
    assert len(folder.images) == 30
    with pytest.raises(InputError, match="prepared with --labels-only: it has no images"):
        prepare_training_data(folder, DataConfig(), 0)


def test_find_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "x.mat"
    file.touch()
    assert find_file(tmp_path, "x.mat", "X", ("inner",)) == file
    assert find_file(file, "x.mat", "X") == file
    with pytest.raises(InputError, match="is not a X download"):
        find_file(tmp_path, "x.mat", "X")
    with pytest.raises(InputError, match="No such folder"):
        find_file(tmp_path / "nowhere", "x.mat", "X")


def test_find_image_root_takes_the_folder_that_has_any(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(500)]
    places = [tmp_path / "a", tmp_path / "b"]
    assert find_image_root(places, names) == places[0]
    places[1].mkdir()
    (places[1] / "490.jpg").touch()
    assert find_image_root(places, names) == places[1]


def test_rare_attributes_count_train_alone(small_schema: AttributeSchema) -> None:
    count = len(small_schema.attributes)
    labels = np.ones((200, count), np.int8)
    labels[:99, 0] = 0
    splits = np.array(["train"] * 100 + ["test"] * 100)
    assert rare_attributes(small_schema, labels, splits)[0].count("1.0 %") == 1
    labels[:100, 0] = 2  # uncertain is not a positive
    assert "0.0 %" in rare_attributes(small_schema, labels, splits)[0]
    assert rare_attributes(small_schema, np.ones((200, count), np.int8), splits) == []


UNKNOWN = [("pa100k", "official:1"), ("rapv1", "official:5"), ("rapv1", "val"), ("rapv2", "identity"), ("peta", "x")]


@pytest.mark.parametrize(("name", "split"), UNKNOWN)
def test_unknown_splits(tmp_path: Path, name: str, split: str) -> None:
    with pytest.raises(UsageError, match="Unknown split"):
        prepare_official(name, tmp_path, tmp_path / "out", split=split)
