"""labels.csv: reading and writing, and what is said of a wrong file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.data.labels_csv import FIXED_COLUMNS, SPLITS, format_labels, read_labels
from focuscli.data.schema import AttributeSchema
from focuscli.data.splits import known_persons
from focuscli.errors import InputError

HEADER = "image,split,person,Male,Backpack,Female,Hat,spectacles\n"
ROWS = "a.png,train,p1,1,0,0,1,2\nb/c.png,test,,0,1,1,0,0\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_reads_splits_persons_and_cells_in_schema_order(tmp_path: Path, small_schema: AttributeSchema) -> None:
    header = "person,spectacles,camera,image,Hat,Female,Backpack,Male,split\n"
    path = write(tmp_path, header + "p1,2,left,a.png,1,0,0,1,train\n,0,right,b/c.png,0,1,1,0,test\n")
    images, splits, persons, labels = read_labels(path, small_schema)
    assert images == ("a.png", "b/c.png")
    assert splits.tolist() == ["train", "test"]
    assert persons.tolist() == ["p1", ""]
    assert labels.dtype == np.int8
    assert labels.tolist() == [[1, 0, 0, 1, 2], [0, 1, 1, 0, 0]]


HARMLESS = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "no last line end": lambda text: text.rstrip("\n"),
    "spaces": lambda text: text.replace(",", " , "),
    "quotes": lambda text: text.replace("a.png", '"a.png"'),
    "semicolons": lambda text: text.replace(",", ";"),
    "sep=": lambda text: "sep=\t\n" + text.replace(",", "\t"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Excel": lambda text: text.replace("\n", ",,\n") + ",,,,,,,,,\n",
    "Windows": lambda text: text.replace("b/c", "b\\c").replace("image,split,person", "Image,SPLIT,Person ID"),
    "person -1": lambda text: text.replace("test,,", "test,-1,"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_variants_read_the_same(tmp_path: Path, small_schema: AttributeSchema, name: str) -> None:
    plain = read_labels(write(tmp_path, HEADER + ROWS), small_schema)
    assert format_labels(small_schema, plain) == HEADER + ROWS
    other = read_labels(write(tmp_path, HARMLESS[name](HEADER + ROWS)), small_schema)
    assert all(np.array_equal(found, wanted) for found, wanted in zip(other, plain, strict=True))


CONVERT = "focus prepare csv {path} --out FOLDER "
OUTSIDE = "Paths are relative to image_root in schema.toml; set that to the folder that holds all images."
REFUSED = [
    (
        "1,0,0,1,2",
        "1,yes,0,no,2",
        'labels.csv line 2, column "Backpack": "yes" is not 0 or 1 (2 = unknown). (1 more like it.)',
        CONVERT + "--true 1,yes --false 0,no --unknown 2",
    ),
    ("1,0,0,1,2", "1,not sure,0,1,2", '"not sure" is not 0 or 1 (2 = unknown).', CONVERT + "--unknown '2,not sure'"),
    ("0,1,1,0,0", "0,1,present,0,0", '"present" is not 0 or 1 (2 = unknown).', CONVERT + "--true 1,present --false 0"),
    ("0,1,1,0,0", "0,1,,0,10", 'line 3, column "Female": "" is not 0 or 1 (2 = unknown). (1 more like it.)', CONVERT),
    ("0,1,1,0,0", "0,\u0661,1,0,0", "is not 0 or 1", ""),
    (",0,1,1,0,0", ",0,1,1,0", "line 3: 7 cells, but the header has 8", ""),
    ("test", "tset", 'line 3: split "tset" is none of train, val, test, unused.', "Did you mean test? Known: train, "),
    ("b/c.png", "a.png", 'line 3: image "a.png" is listed twice (first: {path} line 2).', ""),
    ("b/c.png", "../c.png", 'line 3: "../c.png" leads out of the folder of images.', OUTSIDE),
    *(("b/c.png", path, "leads out", "") for path in ("x/../../c.png", "..\\c.png", "/etc/passwd", "C:\\c.png")),
    ("b/c.png", "", "line 3: '' is not a file name", ""),
    ("b/c.png", "b\0.png", "NUL characters", ""),
    ("b/c.png", '"b/c.png', 'line 3: a quotation mark (") is not closed', "Close"),
    (ROWS, "", "no images", ""),
    (HEADER + ROWS, "", "is empty", "Its first line must be: image,split,person,ATTRIBUTE,..."),
    ("split", "spilt", 'has no column "split"', "Did you mean spilt?"),
    ("b/c.png", "./a.png", 'line 3: image "./a.png" is the same file as "a.png" (first: {path} line 2).', "Delete one"),
    (
        HEADER,
        "",
        "has no header: line 1 is an image already (a.png)",
        "Put a line above it that names its 8 columns, such as: image,ATTRIBUTE1",
    ),
    ("Backpack,Female", ",", "columns 5, 6 have no name", "Name them."),
    ("split", "Split,SPLIT", "8 cells, but the header has 9", ""),
    ("Hat", "Male", '2 columns are named "Male"', ""),
]


@pytest.mark.parametrize(("old", "new", "problem", "hint"), REFUSED)
def test_says_what_is_wrong_with_line_and_column(tmp_path: Path, small_schema, old, new, problem, hint) -> None:
    path = write(tmp_path, (HEADER + ROWS).replace(old, new))
    with pytest.raises(InputError) as caught:
        read_labels(path, small_schema)
    assert caught.value.problem.startswith(str(path))
    assert problem.format(path=path) in caught.value.problem
    assert (caught.value.hint or "").startswith(hint.format(path=path))


@pytest.mark.parametrize("header", ["hats", "HAT"])
def test_an_attribute_without_a_column_names_the_closest(tmp_path: Path, small_schema, header: str) -> None:
    path = write(tmp_path, HEADER.replace("Hat", header) + ROWS)
    with pytest.raises(InputError) as caught:
        read_labels(path, small_schema)
    assert caught.value.problem == f'{path} has no column "Hat".'
    assert caught.value.hint == (
        f"Did you mean {header}? Known: image, split, person, Male, Backpack, Female, {header}, spectacles. "
        'Another: column = "NAME" under the attribute in schema.toml.'
    )


def test_what_is_not_utf8_is_named_with_its_place(tmp_path: Path, small_schema: AttributeSchema) -> None:
    for text, line in ((HEADER + ROWS.replace("b/c", "caf\xe9"), 3), ("\xe9" + HEADER, 1), ("\n\xe9", 2)):
        path = write(tmp_path, text.encode("latin-1"))
        with pytest.raises(InputError, match=rf"line {line} is not UTF-8 \(byte 0xe9 at position \d+\)") as caught:
            read_labels(path, small_schema)
        assert f"iconv -f cp1252 -t utf-8 {path}" in (caught.value.hint or "")
        assert '"caf\xe9.png,test,,0,1,1,0,0": iconv -f cp1252' in (caught.value.hint or "") or line < 3


def test_a_file_that_cannot_be_read_names_the_way_out(tmp_path: Path, small_schema: AttributeSchema) -> None:
    near = write(tmp_path, HEADER)
    for path, hint in (
        (tmp_path / "lables.csv", f"Did you mean {near}?"),
        (tmp_path / "other.txt", "A dataset is a folder with schema.toml and labels.csv."),
        (tmp_path, "Name the CSV file in it."),
    ):
        with pytest.raises(InputError, match="Cannot read") as caught:
            read_labels(path, small_schema)
        assert caught.value.hint == hint


file_name = (
    st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\\:/.\ufeff"), min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)


@st.composite
def contents(draw: st.DrawFn) -> tuple[AttributeSchema, Any]:
    """A schema and what its labels.csv says."""
    columns = draw(
        st.lists(file_name.filter(lambda name: name not in FIXED_COLUMNS), min_size=1, max_size=4, unique=True)
    )
    place = {"region": "head", "category": "c", "group": "g"}
    attributes = [{"name": name, "phrase": f"p{row}", **place} for row, name in enumerate(columns)]
    schema = AttributeSchema.model_validate({"name": "x", "groups": [{"name": "g"}], "attributes": attributes})
    images = draw(st.lists(file_name, min_size=1, max_size=5, unique=True))

    def per_image(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.lists(values, min_size=len(images), max_size=len(images)))

    known = file_name.filter(lambda name: known_persons([name]) == [name])
    splits, persons = per_image(st.sampled_from(SPLITS)), per_image(known | st.just(""))
    rows = per_image(st.lists(st.sampled_from([0, 1, 2]), min_size=len(columns), max_size=len(columns)))
    return schema, (tuple(images), np.array(splits), np.array(persons), np.array(rows, np.int8))


@settings(max_examples=80)
@given(
    content=contents(),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_reads_back_the_same(tmp_path_factory, content: Any, separator, end, encoding) -> None:
    """Also after a program has saved it with other separators, line ends and another encoding."""
    schema, labels = content
    text = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(format_labels(schema, labels), newline=""))
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue().encode(encoding))
    for found, wanted in zip(read_labels(path, schema), labels, strict=True):
        assert np.array_equal(found, wanted)
