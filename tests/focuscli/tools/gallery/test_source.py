from __future__ import annotations

import pytest

from focuscli.data.folder import read_folder
from focuscli.errors import InputError, UsageError
from focuscli.tools.gallery.source import find_source, none_there


def test_a_folder_is_listed_by_name_relative_to_itself(crops):
    source = find_source(str(crops))
    assert (source.kind, source.root, source.split) == ("folder", crops, "")
    assert [crop.path for crop in source.crops] == sorted(file.name for file in crops.iterdir())
    first = source.crops[0]
    assert (first.size, first.modified) == ((crops / "00.png").stat().st_size, (crops / "00.png").stat().st_mtime_ns)
    assert source.path(first) == crops / "00.png"


@pytest.mark.parametrize("split", [None, "val"])
def test_a_dataset_is_listed_in_its_own_order(coloured_dataset, split):
    source, dataset = find_source(str(coloured_dataset), split=split), read_folder(coloured_dataset)
    assert (source.kind, source.name, source.split) == ("dataset", "coloured", split or "all")
    wanted = [dataset.image_path(index) for index in dataset.select(split or "all")]
    assert [source.path(crop).resolve() for crop in source.crops] == [path.resolve() for path in wanted]


def test_a_list_is_absolute_and_without_doubles(crops, monkeypatch):
    monkeypatch.chdir(crops)
    (crops / "more").mkdir()
    source = find_source("-", stdin=["03.png\n", "01.png\n", str(crops / "03.png"), "more/../01.png"])
    assert [crop.path for crop in source.crops] == [str(crops / "03.png"), str(crops / "01.png")]
    assert source.root is None
    assert source.path(source.crops[0]) == crops / "03.png"
    assert len(find_source("0[0-3].png").crops) == 4
    (crops / "link.png").symlink_to(crops / "01.png")
    assert len(find_source("-", stdin=["01.png", "link.png"]).crops) == 2


def test_what_is_not_there_is_told(tmp_path, crops):
    with pytest.raises(InputError, match="No such image"):
        find_source(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match='Unknown dataset "petta"') as caught:
        find_source("petta")
    assert "peta" in caught.value.hint
    with pytest.raises(UsageError, match="no dataset"):
        find_source(str(crops), split="val")


def test_a_file_that_vanishes_is_listed_as_not_there(crops, coloured_dataset):
    (crops / "link.png").symlink_to(crops / "nowhere.png")
    source = find_source(str(crops))
    assert none_there(source) is None
    alone = source.__class__("list", crops, "x", "", tuple(crop for crop in source.crops if crop.size < 0))
    assert "None of" in str(none_there(alone)) or not alone.crops
