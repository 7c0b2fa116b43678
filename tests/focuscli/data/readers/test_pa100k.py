"""annotation.mat: order of the parts, and whatever contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.pa100k import read_pa100k
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

SCHEMA = builtin_schema("pa100k")


def cells(values: list[str]) -> Any:
    found = np.empty((len(values), 1), dtype=object)
    found[:, 0] = values
    return found


def content() -> dict[str, Any]:
    """6 images in three parts; image k has attribute k alone."""
    variables: dict[str, Any] = {"attributes": cells([attribute.name for attribute in SCHEMA.attributes])}
    number = 0
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        variables[f"{part}_images_name"] = cells([f"{number + row + 1:06}.jpg" for row in range(count)])
        variables[f"{part}_label"] = np.eye(26, dtype=np.uint8)[number : number + count]
        number += count
    return variables


def test_labels_and_splits_stand_with_their_images(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "annotation.mat", content())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "000002.jpg").touch()
    found = read_pa100k(tmp_path)
    assert found.images == [f"{number:06}.jpg" for number in range(1, 7)]
    assert found.splits.tolist() == ["train"] * 3 + ["val"] + ["test"] * 2
    assert np.array_equal(found.labels, np.eye(26, dtype=np.int8)[:6])
    assert found.root == (tmp_path / "data").resolve()
    assert set(found.persons.tolist()) == {""}


def _swap(variables: dict[str, Any]) -> None:
    variables["attributes"][[0, 1]] = variables["attributes"][[1, 0]]


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda v: v.pop("val_label"), "it has no 'val_label'"),
    (_swap, "not PA-100K's 26 in their order"),
    (lambda v: v.update(test_label=np.eye(26, dtype=np.uint8)[:1]), "test_label has 1 rows, but there are 2 names"),
    (lambda v: v.update(train_label=3 * v["train_label"]), "Female has labels other than 0 and 1"),
    (lambda v: v.update(test_images_name=cells(["000001.jpg", "000009.jpg"])), "names an image twice"),
]


@pytest.mark.parametrize(("change", "words"), BROKEN)
def test_contradictions_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    variables = content()
    change(variables)
    scipy.io.savemat(tmp_path / "annotation.mat", variables)
    with pytest.raises(InputError, match=words):
        read_pa100k(tmp_path)
