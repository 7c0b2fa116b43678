"""Drawings in official file structures: labels by rule, the same pixels as the plain drawings, no person in two parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from focuscli.data.folder import read_folder
from focuscli.data.prepare import prepare_official
from focuscli.data.readers.peta_files import SUBSETS
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic import STYLES, draw
from focuscli.data.synthetic.generate import cast_of, style_key
from focuscli.data.synthetic.labels import details_of, labels_of
from focuscli.data.synthetic.official import IMAGE_FOLDERS, _rules, official_labels, write_official
from focuscli.errors import InputError, UsageError

CAST = [person for _, person in cast_of(200, 3, "street")]
SEEN = [labels_of(person) | details_of(person) for person in CAST]


@pytest.mark.parametrize("kind", IMAGE_FOLDERS)
def test_every_rule_names_attributes_that_exist(kind: str) -> None:
    official = {attribute.name for attribute in builtin_schema(kind).attributes}
    own = set(SEEN[0])
    for name, words in _rules(kind).items():
        assert name in official
        assert {word for word in words if word != "none of"} <= own, name


def test_pa100k_labels_are_the_drawings_own() -> None:
    drawn = [labels_of(person) for person in CAST]
    expected = [[labels[a.name] for a in builtin_schema("pa100k").attributes] for labels in drawn]
    assert official_labels("pa100k", drawn).tolist() == expected


@pytest.mark.parametrize(("kind", "groups"), [("peta", ("age", "hair", "carrying")), ("rapv1", ("age", "footwear"))])
def test_groups_with_one_true_attribute_have_one(kind: str, groups: tuple[str, ...]) -> None:
    schema = builtin_schema(kind)
    table = official_labels(kind, SEEN)
    for group in groups:
        columns = [row for row, attribute in enumerate(schema.attributes) if attribute.group == group]
        assert (table[:, columns].sum(axis=1) >= 1).all(), group
    ages = [row for row, attribute in enumerate(schema.attributes) if attribute.group == "age"]
    assert (table[:, ages].sum(axis=1) == 1).all()


def test_details_are_told_from_labels_and_exclude_each_other() -> None:
    assert not labels_of(CAST[0]).keys() & details_of(CAST[0]).keys()
    for person, seen in zip(CAST, SEEN, strict=True):
        hair = sum(seen[f"{name}Hair"] for name in ("Black", "Brown", "Yellow", "Red", "Grey"))
        assert hair == (person.hair != "bald")
        assert seen["Skirt"] + seen["Dress"] == seen["Skirt&Dress"]
        assert seen["Box"] + seen["Folder"] == seen["HoldObjectsInFront"]
        assert seen["FacingLeft"] + seen["FacingRight"] == seen["Side"]
        assert seen["Slim"] + seen["Stout"] < 2
        assert seen["Sunglasses"] <= seen["Glasses"]
    counts = np.array([[*details_of(person).values()] for person in CAST]).sum(axis=0)
    assert (counts > 3).all(), dict(zip(details_of(CAST[0]), counts.tolist(), strict=True))


def test_pixels_are_those_of_the_person(tmp_path: Path) -> None:
    write_official("peta", tmp_path / "peta", images=20, seed=3)
    person = [person for _, person in cast_of(20, 3, "street")][7]
    rng = np.random.default_rng([3, style_key("street"), 7])
    with Image.open(tmp_path / "peta" / "images" / "00008.png") as image:
        assert np.array_equal(image, draw(person, STYLES["street"], rng=rng).image)


def test_rapv1_of_drawings_leaves_open_what_the_real_one_does(tmp_path: Path) -> None:
    write_official("rapv1", tmp_path / "rap", images=45, seed=3)
    struct = loadmat(tmp_path / "rap" / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    female = struct["label"][:, 0]
    assert np.flatnonzero(female == 2).tolist() == [20]
    assert (struct["identity"] == -1).sum() == 15
    train = struct["partion"][0, 0]["train_index"][0, 0].ravel()
    assert train.tolist() != sorted(train.tolist())
    assert [str(name[0][0]) for name in struct["attribute_exp"][[0, 2, 12]]] == ["Female", "Age17-30", "Hat"]
    known = np.concatenate([struct["reid_partion"][0, 0][part].ravel() for part in ("train_identity", "test_identity")])
    assert sorted(known.tolist()) == sorted(set(struct["identity"].ravel().tolist()) - {-1})


def test_rapv1_boxes_are_the_drawings_own_in_the_cameras_frame(tmp_path: Path) -> None:
    write_official("rapv1", tmp_path / "rap", images=20, seed=3)
    position = loadmat(tmp_path / "rap" / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]["position"]
    assert position.shape == (20, 16)
    person = [person for _, person in cast_of(20, 3, "street")][7]
    boxes = draw(person, STYLES["street"], rng=np.random.default_rng([3, style_key("street"), 7])).boxes
    crop, *parts = position[7].reshape(4, 4).tolist()
    assert crop[2:] == [128, 256]
    for region, (left, top, width, height) in zip(("head", "upper", "lower"), parts, strict=True):
        inside = (left - crop[0], top - crop[1], left - crop[0] + width, top - crop[1] + height)
        assert inside == tuple(round(value) for value in boxes[region]), region


def describe(value: Any) -> Any:
    """Nesting, dtypes and fields of a MATLAB variable, and how many rows or columns it has where that is no count of
    images or persons."""
    if value.dtype.names:
        return {name: describe(value[name].ravel()[0]) for name in value.dtype.names}
    if value.dtype == object:
        return ["cell", value.ndim, value.shape[1], describe(value.ravel()[0])]
    if value.dtype.kind == "U":
        return "text"
    return str(value.dtype), value.ndim, 1 if value.shape[0] == 1 else value.shape[1:]


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "real", "drawn"),
    [
        ("peta", "peta/PETA.mat", "PETA.mat"),
        ("pa100k", "pa100k/PA-100K/annotation.mat", "annotation.mat"),
        ("rapv1", "rapv1/RAP_annotation/RAP_annotation.mat", "RAP_annotation/RAP_annotation.mat"),
    ],
)
def test_files_have_the_structure_of_the_real_ones(
    shared_data: Path, tmp_path: Path, kind: str, real: str, drawn: str
) -> None:
    if not (shared_data / real).is_file():
        pytest.skip(f"no {real}")
    write_official(kind, tmp_path / kind, images=20)
    files = [loadmat(path) for path in (shared_data / real, tmp_path / kind / drawn)]
    theirs, ours = ({key: describe(value) for key, value in file.items() if key[0] != "_"} for file in files)
    assert ours == theirs


def test_peta_of_drawings_can_leave_camera_sites_out(tmp_path: Path) -> None:
    write_official("peta", tmp_path / "peta", images=60, seed=3)
    report = prepare_official("peta", tmp_path / "peta", tmp_path / "out", split="subset:VIPeR,GRID")
    folder = read_folder(tmp_path / "out")
    sites = {
        split: {p.split("/")[0] for p in folder.persons[folder.select(split)].tolist()}
        for split in ("trainval", "test")
    }
    assert sites["test"] <= {"VIPeR", "GRID"}
    assert sites["test"]
    assert not sites["test"] & sites["trainval"]
    assert any("camera sites that training never saw" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("subset:VIPER,Grit", 'no subset "Grit"'),
        ("subset:", "no images to test on"),
        ("subset:" + ",".join(SUBSETS), "no images to train on"),
    ],
)
def test_subsets_that_leave_nothing_are_refused(tmp_path: Path, split: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prepare_official("peta", tmp_path, tmp_path / "out", split=split)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='structure of "rapv3"'):
        write_official("rapv3", tmp_path / "x")
    with pytest.raises(UsageError, match="too few"):
        write_official("peta", tmp_path / "x", images=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(InputError, match="was not drawn by focus"):
        write_official("peta", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "photo.jpg").exists()
