"""RAP_annotation.mat: columns by name, partitions from 1, unknown persons, uncertain labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers.rapv1 import read_rapv1
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.official import write_official
from focuscli.errors import InputError

SCHEMA = builtin_schema("rapv1")


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rap") / "rapv1"
    write_official("rapv1", folder, images=24, seed=2)
    return folder


def edited(download: Path, tmp_path: Path, change) -> Path:
    """The annotation alone, after a change of its struct."""
    struct = scipy.io.loadmat(download / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    content = {name: struct[name].copy() for name in struct.dtype.names}
    change(content)
    scipy.io.savemat(tmp_path / "RAP_annotation.mat", {"RAP_annotation": content})
    return tmp_path


def test_columns_are_found_by_name(download: Path, tmp_path: Path) -> None:
    plain = read_rapv1(download)

    def turn_round(content):
        content["attribute_eng"] = content["attribute_eng"][::-1]
        content["label"] = content["label"][:, ::-1]

    turned = read_rapv1(edited(download, tmp_path, turn_round))
    assert np.array_equal(plain.labels, turned.labels)
    assert plain.labels[:, SCHEMA.index("Customer")].all()


def test_partitions_count_from_1(download: Path, tmp_path: Path) -> None:
    struct = scipy.io.loadmat(download / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    for number in (0, 3):
        found = read_rapv1(download, split=f"official:{number}")
        test = struct["partion"][number, 0]["test_index"][0, 0].ravel().astype(int) - 1
        assert np.flatnonzero(found.splits == "test").tolist() == sorted(test.tolist())
        assert set(found.splits.tolist()) == {"train", "test"}
    assert np.array_equal(read_rapv1(download, split="official").splits, read_rapv1(download).splits)

    def shift(content):
        content["partion"][1, 0]["test_index"][0, 0][0, 0] += 1

    with pytest.raises(InputError, match="partition 1 does not hold each of the 24 images once"):
        read_rapv1(edited(download, tmp_path, shift))


def test_unknown_persons_and_uncertain_labels(download: Path, tmp_path: Path) -> None:
    def change(content):
        content["identity"][:] = 7
        content["identity"][[0, 5]] = -1
        content["label"][:, 0] = 1
        content["label"][3, 0] = 2

    found = read_rapv1(edited(download, tmp_path, change))
    assert [row for row, person in enumerate(found.persons.tolist()) if not person] == [0, 5]
    assert np.flatnonzero(found.labels[:, 0] == 2).tolist() == [3]
    assert any("1 labels are uncertain (value 2; Female)" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("identity"), "no field identity"),
        (
            lambda content: content.update(label=content["label"][:5]),
            "5 rows of labels and 24 identities for 24 images",
        ),
        (lambda content: content.update(label=content["label"] + 2), "labels other than 0, 1 and 2"),
        (
            lambda content: content.update(identity=content["identity"][:3]),
            "24 rows of labels and 3 identities for 24 images",
        ),
    ],
)
def test_contradictions_are_refused(download: Path, tmp_path: Path, change, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_rapv1(edited(download, tmp_path, change))
