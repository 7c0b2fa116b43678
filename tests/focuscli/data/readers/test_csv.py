"""Tables of labels: words for yes and no, splits, where the images are, and what contradicts itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from focuscli.data.coding import Coding
from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.csv import read_csv
from focuscli.data.schema import AttributeSchema, dump_schema
from focuscli.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "sub/d.png", "077.png", "078.png", *(f"{row}.png" for row in range(22))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str | bytes, **options: Any) -> Annotations:
    (folder / "table.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    words = {name: tuple(options.pop(name)) for name in ("true", "false", "unknown") if name in options}
    return read_csv(folder / "table.csv", coding=Coding(**words), **options)


@pytest.mark.parametrize(
    ("words", "cells", "labels"),
    [
        ({}, "1 0 1.0", [1, 0, 1]),
        ({}, "2 " + "0 1 " * 10 + "0", [2, *[0, 1] * 10, 0]),  # rare beside 0 and 1
        ({}, "1.00 0.00 1.0", [1, 0, 1]),
        ({"unknown": ["2"]}, "2 0 1", [2, 0, 1]),
        ({"unknown": ["", "?"]}, "? 0 ", [2, 0, 2]),
        ({"true": ["yes", "ja"], "false": ["no"]}, "YES no ja", [1, 0, 1]),
        ({"true": ["True"], "false": ["False"]}, "true FALSE True", [1, 0, 1]),
        ({"true": ["2"], "false": ["1"]}, "2 1 2", [1, 0, 1]),
        ({"true": ["x"], "false": [""]}, "x  X", [1, 0, 1]),
        ({"true": ["1"], "false": ["-1"], "unknown": ["0"]}, "1 -1 0", [1, 0, 2]),
    ],
)
def test_labels_are_in_the_tables_own_words(folder: Path, words: Any, cells: str, labels: Any) -> None:
    rows = [f"{row}.png,{value}" for row, value in enumerate(cells.split(" "))]
    source = read(folder, "\n".join(["image,hat", *rows, ""]), **words)
    assert source.labels.ravel().tolist() == labels


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        ("1 2", "--true 2 --false 1"),
        ("2 2", "--true 2 --false 1"),
        ("0 2", "--true 2 --false 0"),
        ("0 1 2", "--classes hat "),
        ("0 1 2 3", "--classes hat"),
        ("1 0 9", "--unknown 9"),
        ("-1 0 1", "--true 1 --false -1 --unknown 0"),
        ("-1 0 1", "--unknown -1"),
        ("-1 1", "--true 1 --false -1"),
        ("0 1 ", '--unknown ""'),
        ("1 ", '--true 1 --false ""'),
        ("x ", '--true x --false ""'),
        ("yes no unsure", "--true yes --false no --unknown unsure"),
        ("TRUE FALSE", "--true true --false false"),
        ("male female", "--classes hat"),
        ("M F", "table.csv --classes hat"),
        ("0 255", "If 255 means yes: .* --true 1,255 --false 0"),
        ("1 0 #N/A <NA>", "--unknown '#n/a,<na>'"),
        ("hat bag hat|bag", "a 0/1 column for each word of the lists"),
        ("train test", '"split"'),
        ("0 1 yes", "--true 1,yes --false 0"),
        ("r1 r2 r3 r4 r5 r6 r7 r8 r9", "Delete what is no attribute"),
    ],
)
def test_a_coding_that_makes_no_sense_is_refused_with_the_options_that_settle_it(folder: Path, cells, hint) -> None:
    values = (cells.split(" ") * 12)[:12]
    with pytest.raises(InputError) as caught:
        read(folder, "\n".join(["image,hat", *(f"{row}.png,{value}" for row, value in enumerate(values))]))
    assert '"hat"' in caught.value.problem
    found = (caught.value.hint or "") + " "
    assert hint in found or re.search(hint, found)


def test_half_a_coding_is_completed(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, "image,hat\na.png,1\nb.png,2\n", true=["2"])
    assert (caught.value.hint or "").endswith("--true 2 --false 1")


def test_a_column_of_classes_becomes_a_group_of_attributes(folder: Path) -> None:
    table = "image,hat,age\na.png,0,10\nb.png,1,9\nc.png,0,?\n"
    source = read(folder, table, classes=("age",), unknown=["?"])
    assert [attribute.name for attribute in source.schema.attributes] == ["hat", "age 9", "age 10"]
    assert [attribute.group for attribute in source.schema.attributes] == ["accessory", "age", "age"]
    assert source.labels.tolist() == [[0, 0, 1], [1, 1, 0], [0, 2, 2]]
    with pytest.raises(InputError, match='no column "ages"'):
        read(folder, table, classes=("ages",))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("gbk", {"encoding": "gbk"}),
        ("gb18030", {"encoding": "GB18030"}),
    ],
)
def test_separators_and_encodings_are_read(folder: Path, separator: str, encoding: str, options: Any) -> None:
    text = "image,\u5e3d\u5b50,\u80cc\u5305\r\na.png,1,0\r\n,,\r\nb.png,0,1\r\nc.png,0,0".replace(",", separator)
    source = read(folder, text.encode(encoding), **options)
    assert [attribute.name for attribute in source.schema.attributes] == ["\u5e3d\u5b50", "\u80cc\u5305"]
    assert source.labels.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert "ignored: 1 empty row" in source.notes
    if options:
        with pytest.raises(InputError) as caught:
            read(folder, text.encode(encoding))
        assert "--encoding gbk" in (caught.value.hint or "")
        with pytest.raises(InputError) as caught:
            read(folder, text.encode(encoding)[:-1] + b"\xff", **options)
        assert "--encoding gb" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u5e3d\u5b50,\u30d0\u30c3\u30b0", "shift_jis"),
        ("\ubaa8\uc790,\uac00\ubc29", "euc_kr"),
        ("\u5e3d\u5b50,\u80cc\u5305", "big5"),
    ],
)
def test_east_asian_text_is_shown_as_it_would_read(folder: Path, text: str, encoding: str) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, f"image,{text}\na.png,1,0\n".encode(encoding))
    assert re.search(f'"image,{text}": .* --encoding {encoding}', caught.value.hint or "")


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ("sub\\d.png a.png", ""),
        ("./a.png sub//d.png", ""),
        ("A.PNG b.jpg", "2 image names: another case"),
        ("a b", "2 image names: another case"),
        ("77.png 78", "2 image names: another case, suffix or leading zeros"),
        ("D:\\data\\a.png D:\\data\\sub\\d.png", "2 image names: the beginning D:/data"),
        ("/far/away/a.png /far/away/b.JPG", "1 image name: another case"),
        ("images/a.png images/b.png", "beginning images was replaced"),
    ],
)
def test_image_names_are_matched_where_one_file_fits(folder: Path, names: str, note: str) -> None:
    rows = [f"{name},train,{row}" for row, name in enumerate(names.split(" "))]
    source = read(folder, "\n".join(["image,split,hat", *rows]), images=folder)
    assert all((source.root / name).is_file() and "\\" not in name for name in source.images)
    assert note in "\n".join(source.notes)


def test_names_that_fit_several_files_or_one_twice_are_refused(folder: Path) -> None:
    (folder / "a.jpg").touch()
    (folder / "link.png").symlink_to("b.png")
    (folder / "hard.png").hardlink_to(folder / "c.png")
    for names, problem in (
        ("b.png A.webp", "a.jpg and a.png are"),
        ("b.png link.png", 'image "link.png" is the same file as "b.png"'),
        ("c.png hard.png", 'image "hard.png" is the same file as "c.png"'),
        ("D:\\x\\b.png D:\\y\\c.png", "leads out"),
    ):
        with pytest.raises(InputError) as caught:
            read(folder, "image,hat\n" + "".join(f"{name},{len(name) % 2}\n" for name in names.split(" ")))
        assert problem in caught.value.problem


def test_the_tables_own_split_and_persons_are_kept(folder: Path) -> None:
    header, rows = "image,split,person,hat,", ("a.png,Train,p,1,8", "b.png,validation,p,0,8", "c.png,testing,,1,8")
    source = read(folder, "\n".join([header, *rows, "d.png,unused,q,1,8"]))
    assert [attribute.name for attribute in source.schema.attributes] == ["hat"]
    assert source.splits.tolist() == ["train", "val", "test", "unused"]
    assert source.persons.tolist() == ["p", "p", "", "q"]
    assert source.split == "as in the table"
    source = read(folder, "image,subset,ID,hat\na.png,train,1.0,1\nb.png,query,1,0\nc.png,gallery,-1.0,0\n")
    assert source.splits.tolist() == ["train", "test", "test"]
    assert source.persons.tolist() == ["1", "1", ""]


@pytest.mark.parametrize(
    ("table", "options", "problem", "hint"),
    [
        ("picture,hat\na,1\n", {}, 'no column "image"', "picture, hat"),
        ("image|hat\na.png|1\n", {}, 'no column "image"', "separate cells by commas"),
        ("image,hat\na.png,1\nb.png,0\nTotal,7\n", {}, 'line 4 is of no image ("Total")', "Delete that line"),
        ("image,attribute\n" + "a.png,hat\na.png,bag\n" * 2, {}, "4 rows are of 1 image", "crosstab"),
        ("image,is_train,hat\na.png,1,1\n", {}, 'column "is_train": split "1" is none of', "train"),
        ("image,ha\0t\na.png,1\n", {}, "NUL characters", "CSV UTF-8"),
        ('image,hat\n"a.png,1\nb.png,1\n', {}, "line 2: a quotation mark", "Close"),
        ("image,person,ID,hat\na.png,1,1,0\n", {}, '"person" and "ID" both look like the person', "Delete one"),
        ("image,Hat,hat\na.png,1,0\n", {}, 'columns are named "Hat" and "hat"', "Rename"),
        ("image,hat\na.png,1\n", {"encoding": "utf-16"}, "not UTF-16", "Omit"),
        ("image,hat," + ",".join(map(str, range(6000))), {}, "6,002 columns", ""),
        ("image,split,person\na.png,train,\n", {}, "no attribute columns", "one column per attribute"),
        ("image,ha\x01t\na.png,1\n", {}, "control character", ""),
        ("image,hat\na.png,2\nb.png,no\n", {"true": ["yes"], "false": ["no"]}, '"2" is not no or yes', ""),
        ("image,hat\na.png,1\n", {"true": ["Yes"], "false": ["yes"]}, "cannot mean both", ""),
        ("image,hat\nz.png,1\ny.png,1\n", {}, "Image z.png is not there, and none of the 2", "--images FOLDER"),
        ("image,hat\nd.png,1\nD.png,1\n", {}, "Image d.png is not there", "/sub"),
        ("image,hat\na.png,1\n", {"images": Path("none")}, "no folder none", "--images FOLDER"),
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
