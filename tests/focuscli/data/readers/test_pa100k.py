"""annotation.mat of PA-100K: its parts in one list."""

from __future__ import annotations

from typing import Any

import numpy as np

from focuscli.data.readers.pa100k import read_pa100k


def test_labels_and_splits_stay_with_their_images(annotation_file: Any) -> None:
    folder = annotation_file("pa100k").parent
    (folder / "data").mkdir()
    (folder / "data" / "000002.jpg").touch()
    found = read_pa100k(folder)
    assert found.images == [f"{number:06}.jpg" for number in range(1, 7)]
    assert found.splits.tolist() == ["train"] * 3 + ["val"] + ["test"] * 2
    assert np.array_equal(found.labels, np.eye(26, dtype=np.int8)[:6])
    assert found.root == (folder / "data").resolve()
    assert set(found.persons.tolist()) == {""}
