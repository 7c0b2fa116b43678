"""The built-in schemas against the official files: names, order, which are evaluated, regions, groups, counts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from focuscli.data.schema import AttributeSchema, builtin_schema

pytestmark = pytest.mark.data
SUBREGIONS = {"bodyshape": "body"}  # the reference's name -> ours
Found = tuple[list[str], list[int], NDArray[Any]]


def texts(cells: Any) -> list[str]:
    return [str(cell[0]) for cell in cells.ravel()]


def load(folder: Path, name: str) -> Found:
    """Names in the file's order, positions of the evaluated ones as the file itself says, labels."""
    if name == "pa100k":
        content = scipy.io.loadmat(folder / "pa100k/PA-100K/annotation.mat")
        return texts(content["attributes"]), [*range(26)], np.vstack([content[f"{p}_label"] for p in ("train", "test")])
    if name == "rapv1":
        struct = scipy.io.loadmat(folder / "rapv1/RAP_annotation/RAP_annotation.mat")["RAP_annotation"][0, 0]
        return texts(struct["attribute_eng"]), [*range(struct["attribute_exp"].size)], struct["label"]
    struct = scipy.io.loadmat(folder / "peta/PETA.mat")["peta"][0, 0]
    selected = struct["selected_attribute"].ravel().astype(int) - 5
    return texts(struct["attribute"]), selected.tolist(), struct["data"][:, 4:]


@pytest.fixture(params=["peta", "pa100k", "rapv1"])
def official(request: pytest.FixtureRequest, shared_data: Path) -> tuple[AttributeSchema, Found]:
    if not (shared_data / request.param).is_dir():
        pytest.skip(f"no {request.param} in {shared_data}")
    return builtin_schema(request.param), load(shared_data, request.param)


def test_names_order_and_what_is_evaluated(official: tuple[AttributeSchema, Found]) -> None:
    schema, (names, evaluated, labels) = official
    assert [attribute.name for attribute in schema.attributes] == names
    assert [row for row, attribute in enumerate(schema.attributes) if attribute.evaluated] == evaluated
    assert labels.shape[1] == len(names)


def test_regions_and_groups_agree_with_the_reference(
    official: tuple[AttributeSchema, Found], shared_data: Path
) -> None:
    schema = official[0]
    file = shared_data.parent / "golden" / "attributes.json"
    if not file.is_file():
        pytest.skip(f"no {file}")
    reference = json.loads(file.read_text())[schema.name]
    assert [attribute.name for attribute in schema.evaluated] == [entry["name"] for entry in reference]
    wider: dict[str, set[str]] = {}
    for attribute, entry in zip(schema.evaluated, reference, strict=True):
        assert attribute.region == entry["region"], attribute.name
        if attribute.region == "whole":
            assert attribute.subregion == SUBREGIONS.get(entry["subregion"], entry["subregion"]), attribute.name
        wider.setdefault(attribute.group, set()).add(entry["poar_group"])
    # A group of ours may be a part of one of POAR's (styles of clothes, sleeves), but never mixes two, as hair and hats.
    assert {group: len(names) for group, names in wider.items()} == dict.fromkeys(wider, 1)


def test_sizes_of_regions(official: tuple[AttributeSchema, Found]) -> None:
    schema = official[0]
    counts = Counter(attribute.region for attribute in schema.evaluated)
    sizes = {"peta": [5, 10, 6, 4, 5, 5], "pa100k": [2, 6, 6, 1, 4, 7], "rapv1": [6, 9, 6, 5, 8, 17]}
    assert [counts[region] for region in schema.regions] == sizes[schema.name]


EXACTLY_ONE = {"peta": (), "pa100k": ("age", "view", "sleeve"), "rapv1": ("age", "view")}


def test_groups_without_a_complement_leave_nothing_open(official: tuple[AttributeSchema, Found]) -> None:
    """Exactly one attribute of a group is true in every image just where the schema counts on it."""
    schema, (_, _, labels) = official
    complements = {group.name for group in schema.groups if group.complements}
    certain = []
    for group in schema.groups:
        columns = [row for row, attribute in enumerate(schema.attributes) if attribute.group == group.name]
        if ((labels[:, columns] == 1).sum(axis=1) == 1).all():
            certain.append(group.name)
    assert sorted(certain) == sorted(EXACTLY_ONE[schema.name])
    assert not complements & {*certain}


def test_colours_and_other_extras_are_all_there(official: tuple[AttributeSchema, Found]) -> None:
    schema = official[0]
    extras = Counter(attribute.group for attribute in schema.attributes if not attribute.evaluated)
    colours = {group: count for group, count in extras.items() if group.endswith("colour")}
    assert (sum(colours.values()), sum(extras.values()) - sum(colours.values())) == {
        "peta": (44, 26),
        "pa100k": (0, 0),
        "rapv1": (29, 12),
    }[schema.name]


@pytest.mark.parametrize(("first", "second"), [("peta", "pa100k"), ("peta", "rapv1"), ("pa100k", "rapv1")])
def test_one_phrase_has_one_region_in_all_datasets(first: str, second: str) -> None:
    """Else a text seen in one dataset would be read with another sentence on the other."""
    places = {}
    for text in builtin_schema(first).texts(complements=True, evaluated_only=False):
        places[text.phrase.lower()] = (text.region, text.subregion, text.category)
    shared = [
        text
        for text in builtin_schema(second).texts(complements=True, evaluated_only=False)
        if text.phrase.lower() in places
    ]
    assert len(shared) >= 10
    for text in shared:
        assert (text.region, text.subregion, text.category) == places[text.phrase.lower()], text.phrase
