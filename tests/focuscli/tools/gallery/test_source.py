"""Which crops are listed, with which groups."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from focuscli.data.folder import read_folder
from focuscli.errors import InputError, UsageError
from focuscli.tools.gallery.source import find_source
from focuscli.tools.gallery.store import Crop, SourceRecord


def test_a_list_is_absolute_and_without_repetitions(crops, monkeypatch):
    monkeypatch.chdir(crops)
    (crops / "more").mkdir()
    source = find_source("-", stdin=io.BytesIO(f"03.png\n01.png\n{crops / '03.png'}\nmore/../01.png".encode()))
    assert [crop.path for crop in source.crops] == [str(crops / "03.png"), str(crops / "01.png")]
    assert source.record.root == ""
    assert len(find_source("0[0-3].png").crops) == 4
    (crops / "link.png").symlink_to(crops / "01.png")
    assert len(find_source("-", stdin=io.BytesIO(b"01.png\r\nlink.png")).crops) == 2


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("0[0-2]", ["00", "01", "02", None]), (r"0([12])", [None, "1", "2", None]), ("(0?)[12]", [None, "0", "0", None])],
)
def test_groups_are_found_in_paths(crops, pattern, expected):
    assert [crop.group for crop in find_source(str(crops), group=pattern).crops][:4] == expected


@pytest.mark.parametrize(
    ("given", "options", "error", "words"),
    [
        ("petta", {}, InputError, 'Unknown dataset "petta"'),
        ("CROPS", {"split": "val"}, UsageError, "not a dataset"),
        ("CROPS", {"group": "("}, UsageError, "not a regular expression"),
        ("CROPS", {"group": "cam"}, UsageError, "(?s)finds nothing in paths such as 00.png.*folder above"),
    ],
)
def test_what_is_refused(crops, given, options, error, words):
    with pytest.raises(error, match=words):
        find_source(given.replace("CROPS", str(crops)), **options)


def test_folders_and_datasets_are_listed_with_size_time_and_group(crops, coloured_dataset):
    source = find_source(str(crops))
    assert source.record == SourceRecord("folder", str(crops), "crops", "", None)
    assert [crop.path for crop in source.crops] == sorted(file.name for file in crops.iterdir())
    status = (crops / "00.png").stat()
    assert source.crops[0] == Crop("00.png", status.st_size, status.st_mtime_ns, None)
    dataset = read_folder(coloured_dataset)
    source, chosen = find_source(str(coloured_dataset), split="test", group="person"), dataset.select("test")
    assert (source.record.kind, source.record.name, source.record.split) == ("dataset", "coloured", "test")
    images = [(Path(source.record.root) / crop.path).resolve() for crop in source.crops]
    assert images == [dataset.image_path(index).resolve() for index in chosen]
    assert [crop.group for crop in source.crops] == dataset.persons[chosen].tolist()
    assert find_source(str(coloured_dataset), group=r"\d(\d)\d").crops[15].group == "1"
    (coloured,) = {crop.group for crop in find_source(str(coloured_dataset), split="val", group="split").crops}
    assert coloured == "val"
