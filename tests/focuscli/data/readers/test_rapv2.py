"""RAPv2's annotation file, in the structure that programs which read it show; the real one could not be had."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.rapv2 import read_rapv2
from focuscli.data.schema import builtin_schema, normalise_phrase
from focuscli.errors import InputError

SCHEMA = builtin_schema("rapv2")
COUNT = 20
Read = Callable[..., Annotations]
Content = dict[str, Any]
EVALUATED = [attribute.name for attribute in SCHEMA.evaluated]
EXTRAS = [attribute.name for attribute in SCHEMA.attributes if not attribute.evaluated]


def cells(values: Any, shape: tuple[int, int]) -> Any:
    array = np.empty(shape, dtype=object)
    array.reshape(-1)[:] = values
    return array


@pytest.fixture
def content() -> dict[str, Any]:
    """The struct's fields: columns in another order than the evaluated attributes, with boxes among them."""
    rng = np.random.default_rng(3)
    columns = [*EXTRAS[:30], "box-x", *EVALUATED[::-1], "box-y", *EXTRAS[30:]]
    data = (rng.random((COUNT, len(columns))) < 0.4).astype(np.uint16)
    data[:, columns.index("box-x")] = 500
    data[3, columns.index("Femal")] = 2
    partitions = []
    for _ in range(5):
        train, val, test = np.split(rng.permutation(COUNT) + 1, [12, 16])
        partitions.append(
            {f"{part}_index": rows[None] for part, rows in (("train", train), ("val", val), ("test", test))}
        )
    return {
        "name": cells([f"CAM01_{row:04}.png" for row in range(COUNT)], (COUNT, 1)),
        "data": data,
        "attribute": cells(columns, (len(columns), 1)),
        "selected_attribute": np.array([[columns.index(name) + 1 for name in EVALUATED]], np.uint8),
        "partition_attribute": cells(partitions, (1, 5)),
    }


@pytest.fixture
def read(tmp_path: Path, content: dict[str, Any]) -> Callable[..., Annotations]:
    """Read the annotation with changed fields; None removes one."""

    def found(split: str = "official:0", **changes: Any) -> Annotations:
        struct = {name: value for name, value in {**content, **changes}.items() if value is not None}
        scipy.io.savemat(tmp_path / "RAP_annotation.mat", {"RAP_annotation": struct})
        return read_rapv2(tmp_path, split=split)

    return found


def test_labels_are_found_by_name_and_evaluated_ones_by_the_files_own_choice(read: Read, content: Content) -> None:
    found = read()
    columns = content["attribute"].ravel().tolist()
    for position, attribute in enumerate(found.schema.attributes):
        assert found.labels[:, position].tolist() == content["data"][:, columns.index(attribute.name)].tolist()
    assert [attribute.name for attribute in found.schema.evaluated] == EVALUATED
    assert len(found.schema.attributes) == 111
    assert found.notes == ["ignored 2 of the file's 113 columns"]
    assert found.warnings[0].startswith("This reader was never run on the real file")
    assert any("1 labels have the value 2 (Femal)" in warning for warning in found.warnings)


def test_partitions(read: Read, content: Content) -> None:
    for number in (0, 4):
        found = read(f"official:{number}")
        for part in ("train", "val", "test"):
            wanted = np.sort(content["partition_attribute"][0, number][f"{part}_index"].ravel()) - 1
            assert np.flatnonzero(found.splits == part).tolist() == wanted.tolist()
    assert found.published == {"train": 50_957, "val": 16_986, "test": 16_985}


def test_another_choice_of_the_file_is_taken_and_reported(read: Read, content: Content) -> None:
    found = read(selected_attribute=content["selected_attribute"][:, [2, 0]])
    assert [attribute.name for attribute in found.schema.evaluated] == [EVALUATED[2], EVALUATED[0]]
    assert [group.name for group in found.schema.groups if group.complements] == ["gender"]
    assert any("54 attributes should be evaluated; here are 2" in warning for warning in found.warnings)


def test_rap_zs_excludes_one_attribute(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "zs.pkl"
    parts = {"train": np.arange(8), "val": np.array([9]), "test": np.array([12, 11])}
    file.write_bytes(pickle.dumps({"partition": parts}))
    found = read(f"zs:{file}")
    assert len(found.schema.evaluated) == 53
    assert not found.schema.attributes[found.schema.index("Age46-60")].evaluated
    assert np.flatnonzero(found.splits == "test").tolist() == [11, 12]
    assert (found.splits == "unused").sum() == COUNT - 11
    assert found.published == {"train": 17_062, "val": 4_628, "test": 4_928}
    assert not any("should be evaluated" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"selected_attribute": None}, r"no field selected_attribute; RAPv1's .*focus prepare rapv1"),
        (lambda c: {"data": c["data"][:, 1:]}, "data have shape"),
        (lambda c: {"selected_attribute": np.array([[200]], np.uint8)}, "different numbers of its columns, from 1"),
        (lambda c: {"selected_attribute": np.array([[0, 3]], np.uint8)}, "different numbers of its columns, from 1"),
        (lambda c: {"selected_attribute": np.array([[3, 3]], np.uint8)}, "different numbers of its columns, from 1"),
        (lambda c: {"selected_attribute": np.array([[31]], np.uint8)}, "box-x has labels other than 0, 1 and 2"),
        (lambda c: {"partition_attribute": c["partition_attribute"][:, :0]}, "has 0 partitions; official:0 is not"),
    ],
)
def test_contradictions_are_refused(read: Read, content: Content, change: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(**change(content))


def test_an_unevaluated_column_with_other_values_is_ignored(read: Read, content: Content) -> None:
    data = content["data"].copy()
    data[:, 4] = 77
    found = read(data=data)
    assert EXTRAS[4] not in {attribute.name for attribute in found.schema.attributes}
    assert found.notes == ["ignored 3 of the file's 113 columns"]


def test_what_rapv2_toml_does_not_describe_is_as_in_rapv1_or_guessed(read: Read, content: Content) -> None:
    names = [*content["attribute"].ravel()]
    renamed = {"Femal": "Female", "ub-Shirt": "ub-Cardigan", "hs-Hat": "hs-Visor"}
    attribute = cells([renamed.get(name, name) for name in names], (len(names), 1))
    found = read(attribute=attribute)
    by_name = {attribute.name: attribute for attribute in found.schema.evaluated}
    assert len(by_name) == 54
    assert by_name["Female"].phrase == "female"
    assert (by_name["ub-Cardigan"].region, by_name["hs-Visor"].region) == ("upper", "head")
    assert found.notes[1] == "schema.toml guesses what hs-Visor, ub-Cardigan mean; read it before you train"


def test_the_schema_says_the_same_as_rapv1_of_the_same_names() -> None:
    first = {attribute.name: attribute for attribute in builtin_schema("rapv1").attributes}
    same = [attribute for attribute in SCHEMA.attributes if attribute.name in first]
    assert len(same) > 30
    for attribute in same:
        other = first[attribute.name]
        assert normalise_phrase(attribute.phrase) == normalise_phrase(other.phrase)
        assert (attribute.region, attribute.subregion, attribute.group) == (other.region, other.subregion, other.group)
