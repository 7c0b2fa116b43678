"""Synthetic pedestrians in official file structures: labels by rule, the pixels of `synthetic_images`, nobody in two parts."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from focuscli.data.folder import read_folder
from focuscli.data.prepare import prepare
from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import synthetic_images
from focuscli.data.synthetic.official import official_labels, write_official
from focuscli.data.synthetic.people import labels_of, sample_people
from focuscli.errors import InputError, UsageError


@pytest.mark.parametrize("kind", ["peta", "rapv1"])
def test_rules_name_attributes_that_exist_and_apply(kind: str) -> None:
    schema = builtin_schema(kind)
    rules = tomllib.loads((files("focuscli.data.synthetic") / "official.toml").read_text())[kind]
    seen = [labels_of(person) for _, person in sample_people(200, np.random.default_rng(3))]
    table = official_labels(kind, seen)
    assert rules.keys() <= {attribute.name for attribute in schema.attributes}
    for column, attribute in enumerate(schema.attributes):
        words = rules.get(attribute.name, [])
        named = np.array([[labels[word] for word in words if word != "none of"] for labels in seen]).any(axis=1)
        assert np.array_equal(table[:, column], ~named if "none of" in words else named), attribute.name
    ages = [column for column, attribute in enumerate(schema.attributes) if attribute.group == "age"]
    assert (table[:, ages].sum(axis=1) == 1).all()


def test_rapv1_is_as_incomplete_as_the_real_one_and_has_the_exact_boxes(tmp_path: Path) -> None:
    write_official("rapv1", tmp_path / "rap", images=45, seed=3)
    struct = loadmat(tmp_path / "rap" / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    assert np.flatnonzero(struct["label"][:, 0] == 2).tolist() == [20]
    assert (struct["identity"] == -1).sum() == 15
    train = struct["partion"][0, 0]["train_index"][0, 0].ravel()
    assert train.tolist() != sorted(train.tolist())
    assert [str(name[0][0]) for name in struct["attribute_exp"][[0, 2, 12]]] == ["Female", "Age17-30", "Hat"]
    known = np.concatenate([struct["reid_partion"][0, 0][part].ravel() for part in ("train_identity", "test_identity")])
    assert sorted(known.tolist()) == sorted(set(struct["identity"].ravel().tolist()) - {-1})
    sample = [*synthetic_images(45, 3, "street")][7]
    with Image.open(tmp_path / "rap" / "RAP_dataset" / str(struct["imagesname"][7, 0][0])) as image:
        assert np.array_equal(image, sample.image)
    crop, *parts = struct["position"][7].reshape(4, 4)
    assert tuple(crop[2:]) == image.size
    for region, part in zip(("head", "upper", "lower"), parts, strict=True):
        corners = [*(part[:2] - crop[:2]), *(part[:2] - crop[:2] + part[2:])]
        assert np.allclose(corners, sample.boxes[region], atol=0.51), region


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


def test_synthetic_peta_can_exclude_camera_sites(tmp_path: Path) -> None:
    write_official("peta", tmp_path / "peta", images=60, seed=3)
    prepare("peta", tmp_path / "peta", tmp_path / "out", split="subset:VIPeR,GRID")
    folder = read_folder(tmp_path / "out")
    sites = {
        split: {p.split("/")[0] for p in folder.persons[folder.select(split)].tolist()}
        for split in ("trainval", "test")
    }
    assert sites["test"] <= {"VIPeR", "GRID"}
    assert sites["test"]
    assert not sites["test"] & sites["trainval"]
    assert any("camera sites that training never saw" in warning for warning in folder.info["warnings"])


def test_refusals_change_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='of "rapv3"'):
        write_official("rapv3", tmp_path / "x")
    assert not any(tmp_path.iterdir())
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match="was not written by this command"):
        write_official("peta", tmp_path, overwrite=True)
    assert (tmp_path / "photo.jpg").exists()
