"""The readers against the real files of PETA, PA-100K and RAPv1: every published or measured count, and exact labels."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.data.prepare import READERS, prepare
from focuscli.data.readers.annotations import Annotations
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError

pytestmark = pytest.mark.data
NAMES = ("peta", "pa100k", "rapv1")


@pytest.fixture(scope="module")
def read(shared_data: Path):
    """read(name, split) reads a download, once."""

    @cache
    def found(name: str, split: str) -> Annotations:
        if not (shared_data / name).is_dir():
            pytest.skip(f"no {name} in {shared_data}")
        return READERS[name](shared_data / name, split=split)

    return found


def digest(values: Any) -> str:
    content = values.tobytes() if isinstance(values, np.ndarray) else json.dumps(values).encode()
    return hashlib.sha256(content).hexdigest()[:16]


# Labels [N, A] and persons of each dataset, as the first release of this package read them.
LABELS = {
    "peta": ((19000, 105), "522141079783e937", "397e1d41f7a28fd7"),
    "pa100k": ((100000, 26), "a58b20a6606eaad6", "19d163d3108f253e"),
    "rapv1": ((41585, 92), "8a420f6a3248bebf", "413c50e090279e80"),
}
# Train, val and test images; SHA-256 of the splits in the same sense.
SPLITS = {
    ("peta", "official:0"): ([9500, 1900, 7600], "84127e2078730d70"),
    ("peta", "official:4"): ([9500, 1900, 7600], "287845a159f405f1"),
    ("peta", "identity"): ([9500, 1900, 7600], "46be0c2210eec910"),
    ("peta", "paper"): ([7600, 0, 1900], "797759a5d0f225ce"),
    ("peta", "subset:VIPeR,GRID"): ([14815, 1646, 2539], "18699f398b7ecc33"),
    ("pa100k", "official"): ([80000, 10000, 10000], "842e4de4648b4735"),
    ("rapv1", "official:0"): ([33268, 0, 8317], "aa98218a2b8daec0"),
    ("rapv1", "official:4"): ([33268, 0, 8317], "d652adfff8a2560b"),
}


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_labels_persons_and_splits_are_exactly_these(read, name: str, split: str) -> None:
    found = read(name, split)
    counts, splits = SPLITS[name, split]
    assert [int((found.splits == part).sum()) for part in ("train", "val", "test")] == counts
    if found.published is not None:
        assert {part: int((found.splits == part).sum()) for part in found.published} == found.published
    assert (found.labels.shape, found.labels.dtype) == (LABELS[name][0], np.int8)
    assert (digest(found.labels), digest(found.persons.tolist())) == LABELS[name][1:]
    assert digest(found.splits.tolist()) == splits


@pytest.mark.parametrize("name", NAMES)
def test_built_in_schemas_agree_with_the_reference(name: str, shared_data: Path) -> None:
    schema = builtin_schema(name)
    file = shared_data.parent / "golden" / "attributes.json"
    if not file.is_file():
        pytest.skip(f"no {file}")
    wider: dict[str, set[str]] = {}
    for attribute, entry in zip(schema.evaluated, json.loads(file.read_text())[name], strict=True):
        subregion = {"bodyshape": "body"}.get(entry["subregion"], entry["subregion"])
        assert (attribute.name, attribute.region) == (entry["name"], entry["region"])
        assert attribute.region != "whole" or attribute.subregion == subregion, attribute.name
        wider.setdefault(attribute.group, set()).add(entry["poar_group"])
    # A group of ours may be a part of one of POAR's (styles of clothes, sleeves), but never mixes two, as hair and hats.
    assert {len(names) for names in wider.values()} == {1}


def test_peta_from_label_txt_alone_is_the_same(read, shared_data: Path, tmp_path: Path) -> None:
    whole = read("peta", "identity")
    for entry in (shared_data / "peta" / "PETA dataset").iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    alone = READERS["peta"](tmp_path, split="identity")
    assert "labels from Label.txt" in alone.notes
    for field in ("labels", "persons", "splits"):
        assert np.array_equal(getattr(alone, field), getattr(whole, field)), field


def test_the_pickle_of_rethinking_of_par_holds_the_same(read, shared_data: Path) -> None:
    file = shared_data / "pickles" / "PETA" / "dataset.pkl"
    if not file.is_file():
        pytest.skip(f"no {file}")
    ours = read("peta", "official:0")
    for number in range(5):
        found = READERS["pickle"](file, split=str(number))
        assert found.schema.evaluated == found.schema.attributes == ours.schema.evaluated
        assert np.array_equal(found.labels, ours.labels[:, :35])
        assert found.splits.tolist() == read("peta", f"official:{number}").splits.tolist()


def test_market1501_is_read_by_name_of_field(shared_data: Path) -> None:
    file = shared_data / "market1501" / "market_attribute.mat"
    if not file.is_file():
        pytest.skip(f"no {file}")
    found = READERS["market1501"](file)
    assert [(found.splits == part).sum() for part in ("train", "test")] == [751, 750]
    counts = {part: found.labels[found.splits == part].sum(axis=0) for part in ("train", "test")}
    columns = [
        found.schema.index(name) for name in ("gender", "hat", "young", "teenager", "adult", "old", "downpurple")
    ]
    assert [[int(counts[part][column]) for column in columns] for part in counts] == [
        [320, 20, 14, 569, 160, 8, 2],
        [336, 23, 2, 640, 103, 5, 0],
    ]
    assert (found.labels[:, 1:5].sum(axis=1) == 1).all()


def test_preparing_peta_decodes_every_image_and_keeps_every_label(read, shared_data: Path, tmp_path: Path) -> None:
    folder, source = prepare("peta", shared_data / "peta", tmp_path / "out"), read("peta", "official:0")
    assert (len(folder.images), len(folder.schema.evaluated)) == (19_000, 35)
    assert folder.counts == folder.info["published"]
    text = "\n".join(folder.info["warnings"])
    assert text.count("\n") == 2
    assert "1,106 of 4,110 known persons in test, with 4,385 of 7,600 test images, are also in train or val" in text
    assert "upperBodyThinStripes 1.8%, upperBodyVNeck 1.2%" in text
    folder = read_folder(tmp_path / "out")
    assert np.array_equal(folder.labels, source.labels)
    assert folder.images == tuple(source.images)
    assert folder.image_path(18_999).is_file()
    assert folder.fingerprint == "c25dc49cf112ebf9f45beaec77d58be7e14c7af9fd152dff66e37265b35b7f0b"


def test_preparing_what_exists_of_pa100k(read, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "pa100k"
    with pytest.raises(InputError, match=r"98,000 of 100,000 images of pa100k are missing"):
        prepare("pa100k", source, tmp_path / "out")
    assert prepare("pa100k", source, tmp_path / "out", missing="allow").counts == {"train": 2000}
    images = source / "PA-100K" / "release_data" / "release_data"
    mini = prepare("pa100k", shared_data / "pa100k-mini", tmp_path / "mini", images=images)
    assert mini.counts == {"train": 1400, "val": 200, "test": 400}
    whole = read("pa100k", "official")
    assert np.array_equal(mini.labels, whole.labels[[whole.images.index(name) for name in mini.images]])
