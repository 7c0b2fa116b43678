"""Against the real annotation files of PA-100K and RAPv1: counts, order, structure, as the facts state them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.data.prepare import prepare_official
from focuscli.data.readers.pa100k import read_pa100k
from focuscli.data.readers.rapv1 import read_rapv1
from focuscli.data.schema import builtin_schema, text_targets
from focuscli.data.splits import shared_persons
from focuscli.errors import InputError

pytestmark = pytest.mark.data
PA100K, RAPV1 = builtin_schema("pa100k"), builtin_schema("rapv1")


def there(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def test_pa100k(shared_data: Path) -> None:
    found = read_pa100k(there(shared_data / "pa100k"))
    assert {part: int((found.splits == part).sum()) for part in ("train", "val", "test")} == found.published
    assert found.images[0] == "000001.jpg"
    assert found.images[-1] == "100000.jpg"
    column = {attribute.name: found.labels[:, row] for row, attribute in enumerate(PA100K.attributes)}
    for group in (("AgeOver60", "Age18-60", "AgeLess18"), ("Front", "Side", "Back"), ("ShortSleeve", "LongSleeve")):
        assert (sum(column[name] for name in group) == 1).all(), group
    test = found.splits == "test"
    assert int((column["Hat"] & column["Glasses"])[test].sum()) == 9
    assert column["Female"][~test].mean() == pytest.approx(0.460, abs=5e-4)
    assert column["Female"][test].mean() == pytest.approx(0.390, abs=5e-4)
    lower = sum(column[name] for name in ("LongCoat", "Trousers", "Shorts", "Skirt&Dress"))
    assert int((lower[test] == 0).sum()) == 3
    assert [int((lower[found.splits == part] == 2).sum()) for part in ("train", "val", "test")] == [2256, 661, 418]


def test_pa100k_with_the_images_that_are_there(shared_data: Path, tmp_path: Path) -> None:
    source = there(shared_data / "pa100k")
    with pytest.raises(InputError, match=r"98,000 of 100,000 images of pa100k are missing"):
        prepare_official("pa100k", source, tmp_path / "out")
    report = prepare_official("pa100k", source, tmp_path / "out", missing="allow")
    assert report.counts == {"train": 2000}


def test_pa100k_mini(shared_data: Path, tmp_path: Path) -> None:
    images = there(shared_data / "pa100k" / "PA-100K" / "release_data" / "release_data")
    report = prepare_official("pa100k", there(shared_data / "pa100k-mini"), tmp_path / "out", images=images)
    assert report.counts == {"train": 1400, "val": 200, "test": 400}
    mini, whole = read_folder(tmp_path / "out"), read_pa100k(shared_data / "pa100k")
    rows = [whole.images.index(name) for name in mini.images]
    assert np.array_equal(mini.labels, whole.labels[rows])


def test_rapv1(shared_data: Path) -> None:
    found = read_rapv1(there(shared_data / "rapv1"))
    train, test = (np.flatnonzero(found.splits == part) for part in ("train", "test"))
    assert (len(train), len(test)) == (33_268, 8_317)
    assert int((found.persons == "").sum()) == 18_920
    assert shared_persons(found.persons, train, test) == (1698, 1721, 4493)
    assert len(set(found.persons.tolist()) - {""}) == 2647
    uncertain = found.labels == 2
    assert np.flatnonzero(uncertain.any(axis=0)).tolist() == [RAPV1.index("Female")]
    assert (int(uncertain.sum()), int(uncertain[test].sum())) == (125, 27)
    in_test = []
    for number in range(1, 5):
        other = read_rapv1(shared_data / "rapv1", split=f"official:{number}")
        in_test.append(int((other.labels[other.splits == "test", 0] == 2).sum()))
    assert in_test == [30, 30, 21, 24]
    ages = found.labels[:, [RAPV1.index(name) for name in ("AgeLess16", "Age17-30", "Age31-45")]]
    assert (ages.sum(axis=1) == 1).all()
    texts = RAPV1.texts(complements=True)
    targets, _ = text_targets(found.labels, RAPV1, texts)
    none = {text.phrase: int(targets[test, row].sum()) for row, text in enumerate(texts) if text.attribute is None}
    wanted = {"of some other build": 116, "neither customer nor clerk": 37, "some other kind of footwear": 1113}
    wanted |= {"some other kind of top": 294, "nothing carried": 4598, "no special action": 5615}
    assert {phrase: none[phrase] for phrase in wanted} == wanted


def test_rapv1_labels_alone(shared_data: Path, tmp_path: Path) -> None:
    report = prepare_official("rapv1", there(shared_data / "rapv1"), tmp_path / "out", missing="labels-only")
    assert report.counts == report.published
    assert read_folder(tmp_path / "out").labels_only


def test_peta_without_two_camera_sites(shared_data: Path) -> None:
    from focuscli.data.readers.peta import peta_splits, read_peta

    peta = read_peta(there(shared_data / "peta"), builtin_schema("peta"))
    splits, published = peta_splits(peta, "subset:viper, GRID")
    sites = np.array([person.split("/")[0] for person in peta.persons.tolist()])
    assert np.array_equal(splits == "test", np.isin(sites, ("VIPeR", "GRID")))
    assert set(splits.tolist()) == {"train", "val", "test"}
    assert published is None
