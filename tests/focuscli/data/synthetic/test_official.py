"""Synthetic pedestrians in official file structures: labels by rule, the pixels of `synthetic_images`, nobody in two parts."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import synthetic_images
from focuscli.data.synthetic.official import official_labels, write_official
from focuscli.data.synthetic.people import labels_of, sample_people
from focuscli.errors import InputError


@pytest.mark.parametrize("kind", ["peta", "rapv1"])
def test_rules_name_attributes_that_exist_and_apply(kind: str) -> None:
    schema = builtin_schema(kind)
    rules = tomllib.loads((files("focuscli.data.synthetic") / "official.toml").read_text())[kind]
    seen = [labels_of(person) for _, person in sample_people(200, np.random.default_rng(3))]
    table = official_labels(kind, seen)
    assert rules.keys() <= {attribute.name for attribute in schema.attributes}
    ages = [column for column, attribute in enumerate(schema.attributes) if attribute.group == "age"]
    assert (table[:, ages].sum(axis=1) == 1).all()


def test_rapv1_is_as_incomplete_as_the_real_one(tmp_path: Path) -> None:
    write_official("rapv1", tmp_path / "rap", images=45, seed=3)
    struct = loadmat(tmp_path / "rap" / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0, 0]
    assert np.flatnonzero(struct["label"][:, 0] == 2).tolist() == [20]
    assert (struct["identity"] == -1).sum() == 15
    train = struct["partion"][0, 0]["train_index"][0, 0].ravel()
    assert train.tolist() != sorted(train.tolist())
    sample = [*synthetic_images(45, 3, "street")][7]
    with Image.open(tmp_path / "rap" / "RAP_dataset" / str(struct["imagesname"][7, 0][0])) as image:
        assert np.array_equal(image, sample.image)


def test_only_what_this_command_wrote_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match="was not written by focus prepare"):
        write_official("peta", tmp_path, overwrite=True)
    assert (tmp_path / "photo.jpg").exists()
