"""RAPv2's structure as other projects read it (the real file is not at hand)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from focuscli.data.rapv2 import read_rapv2
from focuscli.errors import InputError, UsageError

NAMES = ["Position", "hs-Hat", "ub-Sweater", "lb-Jeans", "ub-Cardigan", "Female"]


def cells(values: list[Any]) -> Any:
    found = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        found[row, 0] = value
    return found


def content() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (10, 6))
    table[:, 0] = np.arange(10) * 7  # no label
    parts = {
        "train_index": np.array([[10, 2, 3, 4, 5, 6]], np.uint16),
        "val_index": np.array([[7, 8]], np.uint16),
        "test_index": np.array([[9, 1]], np.uint16),
    }
    return {
        "name": cells([f"CAM{number}.png" for number in range(10)]),
        "data": table.astype(np.int32),
        "attribute": cells(NAMES),
        "selected_attribute": np.array([[6, 2, 5]], np.uint8),
        "partition_attribute": cells([parts]).T,
    }


def save(folder: Path, struct: dict[str, Any]) -> Path:
    scipy.io.savemat(folder / "RAP_annotation.mat", {"RAP_annotation": struct})
    return folder


def test_the_selected_attributes_come_first_in_their_order(tmp_path: Path) -> None:
    struct = content()
    found = read_rapv2(save(tmp_path, struct))
    assert [attribute.name for attribute in found.schema.attributes] == [
        "Female",
        "hs-Hat",
        "ub-Cardigan",
        "ub-Sweater",
        "lb-Jeans",
    ]
    assert [attribute.name for attribute in found.schema.evaluated] == ["Female", "hs-Hat", "ub-Cardigan"]
    columns = [NAMES.index(attribute.name) for attribute in found.schema.attributes]
    assert np.array_equal(found.labels, struct["data"][:, columns])
    assert found.schema.attributes[1].phrase == "hat", "as RAPv1 declares it"
    assert found.schema.attributes[2].region == "upper", "guessed"
    assert np.flatnonzero(found.splits == "test").tolist() == [0, 8]
    assert np.flatnonzero(found.splits == "val").tolist() == [6, 7]
    assert any("never run on the real RAPv2 file" in warning for warning in found.warnings)
    assert found.notes == ["1 columns hold other values than 0, 1 and 2 and are left out"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("selected_attribute"), "no field selected_attribute; RAPv1's file is another one"),
        (lambda s: s.update(selected_attribute=np.array([[0, 2]], np.uint8)), "from 1"),
        (lambda s: s.update(selected_attribute=np.array([[1, 2]], np.uint8)), "evaluated labels other than"),
        (lambda s: s.update(data=s["data"][:4]), "data have shape"),
        (lambda s: s["partition_attribute"][0, 0].update(val_index=np.array([[7, 7]], np.uint16)), "partition 0"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, change, words: str) -> None:
    struct = content()
    change(struct)
    with pytest.raises(InputError, match=words):
        read_rapv2(save(tmp_path, struct))


def test_splits(tmp_path: Path) -> None:
    save(tmp_path, content())
    with pytest.raises(InputError, match="has 1 partitions"):
        read_rapv2(tmp_path, split="official:2")
    with pytest.raises(UsageError, match="Unknown split"):
        read_rapv2(tmp_path, split="identity")
