"""RAPv2's annotation file, in the structure that programs which read it show; the real one could not be had."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.rapv2 import read_rapv2
from focuscli.data.schema import builtin_schema, normalise_phrase

SCHEMA = builtin_schema("rapv2")
Read = Callable[..., Annotations]
Content = dict[str, Any]
EVALUATED = [attribute.name for attribute in SCHEMA.evaluated]
EXTRAS = [attribute.name for attribute in SCHEMA.attributes if not attribute.evaluated]


@pytest.fixture
def content(annotation_file: Any, mat_fields: Any, tmp_path: Path) -> Content:
    """The fields of the file's struct."""
    fields = mat_fields(annotation_file("rapv2"))
    return {**fields, "attribute": np.array([str(name[0]) for name in fields["attribute"].ravel()])}


@pytest.fixture
def read(mat_fields: Any, content: Content, tmp_path: Path) -> Read:
    """Read the annotation with changed fields."""

    def found(split: str = "official:0", **changes: Any) -> Annotations:
        mat_fields(tmp_path / "rapv2" / "RAP_annotation.mat", lambda _: changes)
        return read_rapv2(tmp_path / "rapv2", split=split)

    return found


def test_labels_are_found_by_name_and_evaluated_ones_by_the_files_own_choice(read: Read, content: Content) -> None:
    found = read()
    columns = content["attribute"].tolist()
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
            wanted = np.sort(content["partition_attribute"][0, number][f"{part}_index"][0, 0].ravel().astype(int)) - 1
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
    assert (found.splits == "unused").sum() == 20 - 11
    assert found.published == {"train": 17_062, "val": 4_628, "test": 4_928}
    assert not any("should be evaluated" in warning for warning in found.warnings)


def test_an_unevaluated_column_with_other_values_is_ignored(read: Read, content: Content) -> None:
    data = content["data"].copy()
    data[:, 4] = 77
    found = read(data=data)
    assert EXTRAS[4] not in {attribute.name for attribute in found.schema.attributes}
    assert found.notes == ["ignored 3 of the file's 113 columns"]


def test_what_rapv2_toml_does_not_describe_is_as_in_rapv1_or_guessed(read: Read, content: Content) -> None:
    renamed = {"Femal": "Female", "ub-Shirt": "ub-Cardigan", "hs-Hat": "hs-Visor"}
    attribute = np.array([renamed.get(name, name) for name in content["attribute"].tolist()], object)[:, None]
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
