"""Which crops are listed, with which groups."""

from __future__ import annotations

import pytest

from focuscli.data.folder import read_folder
from focuscli.errors import InputError, UsageError
from focuscli.tools.gallery.source import find_source
from focuscli.tools.gallery.store import Crop, SourceRecord


def test_a_folder_is_listed_by_name_relative_to_itself(crops):
    source = find_source(str(crops))
    assert source.record == SourceRecord("folder", str(crops), "crops", "", None)
    assert [crop.path for crop in source.crops] == sorted(file.name for file in crops.iterdir())
    status = (crops / "00.png").stat()
    assert source.crops[0] == Crop("00.png", status.st_size, status.st_mtime_ns, None)
    assert source.path(source.crops[0]) == crops / "00.png"


@pytest.mark.parametrize("split", [None, "val"])
def test_a_dataset_is_listed_in_its_own_order(coloured_dataset, split):
    source, dataset = find_source(str(coloured_dataset), split=split), read_folder(coloured_dataset)
    assert (source.record.kind, source.record.name, source.record.split) == ("dataset", "coloured", split or "all")
    wanted = [dataset.image_path(index) for index in dataset.select(split or "all")]
    assert [source.path(crop).resolve() for crop in source.crops] == [path.resolve() for path in wanted]


def test_a_list_is_absolute_and_without_repetitions(crops, monkeypatch):
    monkeypatch.chdir(crops)
    (crops / "more").mkdir()
    source = find_source("-", stdin=["03.png\n", "01.png\n", str(crops / "03.png"), "more/../01.png"])
    assert [crop.path for crop in source.crops] == [str(crops / "03.png"), str(crops / "01.png")]
    assert source.path(source.crops[0]) == crops / "03.png"
    assert len(find_source("0[0-3].png").crops) == 4
    (crops / "link.png").symlink_to(crops / "01.png")
    assert len(find_source("-", stdin=["01.png", "link.png"]).crops) == 2


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("0[0-2]", ["00", "01", "02", None]), (r"0([12])", [None, "1", "2", None]), ("(0?)[12]", [None, "0", "0", None])],
)
def test_groups_are_found_in_paths(crops, pattern, expected):
    assert [crop.group for crop in find_source(str(crops), group=pattern).crops][:4] == expected


def test_groups_are_a_column_of_a_dataset(coloured_dataset):
    dataset = read_folder(coloured_dataset)
    source = find_source(str(coloured_dataset), split="test", group="person")
    assert [crop.group for crop in source.crops] == dataset.persons[dataset.select("test")].tolist()
    by_split = find_source(str(coloured_dataset), group="split").crops
    assert {crop.group for crop in by_split} == {"train", "val", "test"}
    assert find_source(str(coloured_dataset), group=r"\d(\d)\d").crops[15].group == "1"


@pytest.mark.parametrize(
    ("given", "options", "error", "words", "hint"),
    [
        ("nothing/here", {}, InputError, "No such image", None),
        ("petta", {}, InputError, 'Unknown dataset "petta"', "peta"),
        ("CROPS", {"split": "val"}, UsageError, "not a dataset", "--split"),
        ("CROPS", {"group": "("}, UsageError, "not a regular expression", None),
        ("CROPS", {"group": "cam"}, UsageError, "finds nothing in paths such as 00.png", "folder above"),
        ("DATASET", {"group": "persn"}, UsageError, "not a column of labels.csv", "person"),
    ],
)
def test_what_is_refused(crops, coloured_dataset, given, options, error, words, hint):
    place = {"CROPS": str(crops), "DATASET": str(coloured_dataset)}.get(given, given)
    with pytest.raises(error, match=words) as caught:
        find_source(place, **options)
    assert hint is None or hint in caught.value.hint


def test_files_that_are_not_there(crops, coloured_dataset, tmp_path):
    (crops / "link.png").symlink_to(crops / "nowhere.png")
    assert all(crop.size > 0 for crop in find_source(str(crops)).crops)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("schema.toml", "labels.csv"):
        text = (coloured_dataset / name).read_text().replace(str(coloured_dataset.parent), "/nowhere")
        (moved / name).write_text(text)
    with pytest.raises(InputError, match="None of the 72 images of coloured is there"):
        find_source(str(moved))
