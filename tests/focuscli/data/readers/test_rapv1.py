"""RAP_annotation.mat of RAPv1: partitions from 1, unknown persons, uncertain labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from focuscli.data.readers.rapv1 import read_rapv1


@pytest.mark.parametrize("number", [0, 3])
def test_partitions_count_from_1(annotation_file: Any, mat_fields: Any, number: int) -> None:
    path = annotation_file("rapv1")
    found = read_rapv1(path, split=f"official:{number}")
    test = mat_fields(path)["partion"][number, 0]["test_index"][0, 0].ravel().astype(int) - 1
    assert np.flatnonzero(found.splits == "test").tolist() == sorted(test.tolist())
    assert set(found.splits.tolist()) == {"train", "test"}
    assert any(f"this is partition {number}" in warning for warning in found.warnings) == (number > 0)


def test_unknown_persons_and_uncertain_labels(annotation_file: Any, mat_fields: Any) -> None:
    def change(fields: dict[str, Any]) -> dict[str, Any]:
        identity, labels = np.full_like(fields["identity"], 7), fields["label"].copy()
        identity[[0, 5]] = -1
        labels[:, 0] = np.arange(len(labels)) == 3
        labels[3, 0] = 2
        return {"identity": identity, "label": labels}

    path = annotation_file("rapv1")
    mat_fields(path, change)
    found = read_rapv1(path)
    assert [row for row, person in enumerate(found.persons.tolist()) if not person] == [0, 5]
    assert np.flatnonzero(found.labels[:, 0] == 2).tolist() == [3]
    assert any("1 labels are uncertain (value 2; Female)" in warning for warning in found.warnings)
    assert any("2 images show no known person" in warning for warning in found.warnings)
