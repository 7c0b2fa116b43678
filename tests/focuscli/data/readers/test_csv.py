"""Tables of labels: words for yes and no, splits, where the images are, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.csv import read_csv
from focuscli.data.schema import AttributeSchema, dump_schema
from focuscli.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str, **options: Any) -> Annotations:
    (folder / "table.csv").write_text(text)
    return read_csv(folder / "table.csv", **options)


@pytest.mark.parametrize(
    ("true", "false", "cells", "labels"),
    [
        ("1", "0", "1 0 1.0", [1, 0, 1]),
        ("1", "0", "2 0 1", [2, 0, 1]),  # 2 is uncertain beside 1 and 0 only
        ("yes", "no", "YES no yes", [1, 0, 1]),
        ("True", "False", "true FALSE True", [1, 0, 1]),
        ("2", "1", "2 1 2", [1, 0, 1]),
        ("x", "", "x  X", [1, 0, 1]),
        ("1", "-1", "1 -1 1.0", [1, 0, 1]),
    ],
)
def test_yes_and_no_in_the_tables_own_words(folder: Path, true: str, false: str, cells: str, labels: Any) -> None:
    rows = [f"{name}.png,{value}" for name, value in zip("abc", cells.split(" "), strict=True)]
    source = read(folder, "\n".join(["image,hat", *rows, ""]), true=true, false=false)
    assert source.labels.ravel().tolist() == labels


def test_the_tables_own_split_and_persons_are_kept(folder: Path) -> None:
    header, rows = "image,split,person,hat,", ("a.png,Train,p,1,8", "b.png,validation,p,0,8", "c.png,testing,,1,8")
    source = read(folder, "\n".join([header, *rows, "d.png,unused,q,1,8"]))
    assert [attribute.name for attribute in source.schema.attributes] == ["hat"]
    assert source.splits.tolist() == ["train", "val", "test", "unused"]
    assert source.persons.tolist() == ["p", "p", "", "q"]
    assert source.split == "as in the table"


@pytest.mark.parametrize(
    ("table", "options", "problem", "hint"),
    [
        ("file,hat\na.png,1\n", {}, 'no column "image"', "file, hat"),
        ("image,split,person\na.png,train,\n", {}, "no attribute columns", "one column per attribute"),
        ("image,ha\x01t\na.png,1\n", {}, "control character", ""),
        ("image,hat\na.png,2\nb.png,no\n", {"true": "yes", "false": "no"}, '"2" is not no or yes', ""),
        ("image,hat\na.png,1\n", {"true": "Yes", "false": "yes"}, "cannot mean both", ""),
        ("image,split,hat\na.png,tran,1\n", {}, 'line 2: split "tran"', "train"),
        ("image,hat\na.png,1\nb.png,1\n../c.png,0\n", {}, "leads out", ""),
        ("image,hat\nz.png,1\nb.png,1\nc.png,0\n", {}, "image z.png is not there", "--images"),
        ("image,hat\na.png,1\n", {"images": Path("none")}, "looked in none", ""),
        ("image,hat\na.png,1\nb.png,1\n", {}, "cannot be divided into 3", "split"),
    ],
)
def test_says_what_is_wrong_with_the_table(folder: Path, table, options, problem, hint) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, table, **options)
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")


def test_images_are_where_the_option_says_and_paths_become_relative(folder: Path) -> None:
    source = read(folder, "image,split,hat\nd.png,train,1\n", images=folder / "sub")
    assert source.root == folder / "sub"
    table = f"image,split,hat\n{folder}/a.png,train,1\nsub\\d.png,train,1\n"
    assert read(folder, table, images=folder).images == ["a.png", "sub/d.png"]
    with pytest.raises(InputError, match="leads out"):
        read(folder, table, images=folder / "sub")


def test_a_given_schema_decides_which_columns_count(folder: Path, small_schema: AttributeSchema) -> None:
    schema = folder / "schema.toml"
    schema.write_text(dump_schema(small_schema))
    table = "image,split,camera,spectacles,Hat,Female,Backpack,Male\na.png,train,left,1,0,0,1,0\n"
    source = read(folder, table, schema=schema)
    assert source.labels.tolist() == [[0, 1, 0, 0, 1]]
    assert source.schema == small_schema
    with pytest.raises(InputError, match=r'table\.csv has no column "Hat"'):
        read(folder, table.replace("Hat", "Hats"), schema=schema)
