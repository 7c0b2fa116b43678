"""annotation.mat of PA-100K: order of the parts, and whatever contradicts itself is refused."""

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

NAMES = [attribute.name for attribute in builtin_schema("pa100k").attributes]


def cells(values: list[str]) -> Any:
    found = np.empty((len(values), 1), dtype=object)
    found[:, 0] = values
    return found


@pytest.fixture
def variables() -> dict[str, Any]:
    """6 images in three parts; image k has attribute k alone."""
    content: dict[str, Any] = {"attributes": cells(NAMES)}
    number = 0
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        content[f"{part}_images_name"] = cells([f"{number + row + 1:06}.jpg" for row in range(count)])
        content[f"{part}_label"] = np.eye(26, dtype=np.uint8)[number : number + count]
        number += count
    return content


def test_labels_and_splits_stay_with_their_images(tmp_path: Path, variables: dict[str, Any]) -> None:
    scipy.io.savemat(tmp_path / "annotation.mat", variables)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "000002.jpg").touch()
    found = read_pa100k(tmp_path)
    assert found.images == [f"{number:06}.jpg" for number in range(1, 7)]
    assert found.splits.tolist() == ["train"] * 3 + ["val"] + ["test"] * 2
    assert np.array_equal(found.labels, np.eye(26, dtype=np.int8)[:6])
    assert found.root == (tmp_path / "data").resolve()
    assert set(found.persons.tolist()) == {""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.pop("val_label"), "it has no 'val_label'"),
        (lambda v: v.update(attributes=cells([NAMES[1], NAMES[0], *NAMES[2:]])), "not PA-100K's 26 in their order"),
        (lambda v: v.update(test_label=np.eye(26, dtype=np.uint8)[:1]), "test_label has 1 rows, but there are 2 names"),
        (lambda v: v.update(train_label=3 * v["train_label"]), "Female has labels other than 0 and 1"),
        (lambda v: v.update(test_images_name=cells(["000001.jpg", "000009.jpg"])), "names an image twice"),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, variables: dict[str, Any], change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    change(variables)
    scipy.io.savemat(tmp_path / "annotation.mat", variables)
    with pytest.raises(InputError, match=words):
        read_pa100k(tmp_path)
