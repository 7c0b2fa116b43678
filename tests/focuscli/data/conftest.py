"""A small schema, small images, and miniature downloads of each official dataset."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.data.synthetic.official import write_official

MAT_FILES = {
    "peta": "PETA.mat",
    "pa100k": "annotation.mat",
    "rapv1": "RAP_annotation/RAP_annotation.mat",
    "rapv2": "RAP_annotation.mat",
}
# File names as in the ten subsets, in PETA.mat's order: neither natural order (3DPeS, TownCentre) nor regardless of case
# (SARC3D); and how many of their first characters are the person's number.
PETA_FILES: dict[str, tuple[int, list[str]]] = {
    "3DPeS": (0, ["100_3_FRAME_26_RGB.bmp", "100_3_FRAME_9_RGB.bmp", "12_1_FRAME_2_RGB.bmp", "9_1_FRAME_1_RGB.bmp"]),
    "CAVIAR4REID": (4, ["0001_001.jpg", "0001_002.jpg", "0053_001.jpg"]),
    "CUHK": (4, ["0002.png", "0003.png", "0606.png"]),
    "GRID": (4, ["0001_1_25004_107.jpeg", "0001_2_25023_116.jpeg", "0989_1_2_3.jpeg"]),
    "i-LID": (4, ["0057001.jpg", "0057002.jpg", "0059001.jpg"]),
    "MIT": (5, ["00001_male_back.jpg", "00002_female_front.jpg", "00924_male_back.JPG"]),
    "PRID": (4, ["0001_a.png", "0001_b.png", "0709_a.png"]),
    "SARC3D": (3, ["001_Right.bmp", "001_back.bmp", "030_Left.bmp"]),
    "TownCentre": (0, ["0_16.jpg", "0_8.jpg", "100_1726.jpg", "20_3.jpg"]),
    "VIPeR": (3, ["000_45_1.bmp", "000_45_2.bmp", "806_0_1.bmp"]),
}


@pytest.fixture
def small_schema() -> AttributeSchema:
    def attribute(name: str, phrase: str, region: str, group: str, **more: object) -> Attribute:
        return Attribute(name=name, phrase=phrase, region=region, category="thing", group=group, **more)

    return AttributeSchema(
        name="small",
        groups=(
            Group(name="gender", complements=("female",)),
            Group(name="carrying"),
            Group(name="head", complements=("bare head", "nothing on the head"), category="head"),
        ),
        attributes=(
            attribute("Male", "male", "whole", "gender", subregion="gender"),
            attribute("Backpack", "backpack", "bag", "carrying"),
            attribute("Female", "female", "whole", "gender", subregion="gender", evaluated=False),
            attribute("Hat", "hat", "head", "head"),
            attribute("Glasses", "glasses", "head", "head", column="spectacles"),
        ),
    )


@pytest.fixture
def make_image() -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((12, 24), 64).convert("RGB").save(path)

    return write


def cells(values: Any) -> NDArray[Any]:
    """A MATLAB cell array [n, 1]."""
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = values
    return array


def save_rapv2(path: Path) -> None:
    """A RAP_annotation.mat of 20 images: columns in another order than the evaluated attributes, two boxes among them."""
    rng = np.random.default_rng(3)
    schema = builtin_schema("rapv2")
    evaluated = [attribute.name for attribute in schema.evaluated]
    extras = [attribute.name for attribute in schema.attributes if not attribute.evaluated]
    columns = [*extras[:30], "box-x", *evaluated[::-1], "box-y", *extras[30:]]
    data = (rng.random((20, len(columns))) < 0.4).astype(np.uint16)
    data[:, columns.index("box-x")] = 500
    data[3, columns.index("Femal")] = 2
    rows = np.split(rng.permutation(20) + 1, [12, 16])
    parts = dict(zip(("train_index", "val_index", "test_index"), rows, strict=True))
    struct = {
        "name": cells([f"CAM01_{row:04}.png" for row in range(20)]),
        "data": data,
        "attribute": cells(columns),
        "selected_attribute": np.array([[columns.index(name) + 1 for name in evaluated]], np.uint8),
        "partition_attribute": cells([parts] * 5).T,
    }
    scipy.io.savemat(path, {"RAP_annotation": struct})


@pytest.fixture(scope="session")
def _downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloads")
    for name in ("peta", "pa100k", "rapv1"):
        write_official(name, folder / name, images=30, seed=2)
    (folder / "rapv2").mkdir()
    save_rapv2(folder / "rapv2" / MAT_FILES["rapv2"])
    return folder


@pytest.fixture
def download(_downloads: Path, tmp_path: Path) -> Callable[[str], Path]:
    """download(name): a folder with a synthetic download (PETA in numbered layout; RAPv2 without images)."""
    return lambda name: shutil.copytree(_downloads / name, tmp_path / "download" / name)


@pytest.fixture
def edit_mat() -> Callable[..., dict[str, Any]]:
    """edit_mat(download, change) -> the fields of its .mat file's struct, or its variables if it has several.

    `change`, if given, maps them to the changed ones, where None removes one.
    """

    def edit(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> dict[str, Any]:
        path = folder / MAT_FILES[folder.name]
        variables = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
        name, *more = variables
        struct = variables[name]
        fields = variables if more else {field: struct[0, 0][field] for field in struct.dtype.names}
        if change is not None:
            fields = {key: value for key, value in {**fields, **change(fields)}.items() if value is not None}
            scipy.io.savemat(path, fields if more else {name: fields})
        return fields

    return edit


@pytest.fixture
def fake_peta(tmp_path: Path, make_image: Callable[[Path], None]) -> SimpleNamespace:
    """PETA as its authors distribute it, with what a reader must find in it, in the order of PETA.mat."""
    root = tmp_path / "authors" / "PETA dataset"
    names = [attribute.name for attribute in builtin_schema("peta").attributes]
    spelled = ["footwearSneakers" if name == "footwearSneaker" else name for name in names]
    rng = np.random.default_rng(5)
    images, owners, labels = [], [], []
    for subset, (subset_name, (digits, files)) in enumerate(PETA_FILES.items(), start=1):
        people: dict[str, NDArray[np.int8]] = {}
        for file in files:
            key = file[:digits] or re.split("_", file)[0]
            people.setdefault(key, (rng.random(105) < 0.3).astype(np.int8))
            images.append(f"{subset_name}/archive/{file}")
            owners.append((subset, int(key)))
            labels.append(people[key])
            make_image(root / images[-1])
        lines = [" ".join([key, *np.array(spelled)[row == 1], "lowerBodyLogo"]) for key, row in people.items()]
        text = "\r\n".join([*reversed(lines), "99999 personalMale", ""])  # one line more than there are images
        (root / subset_name / "archive" / "Label.txt").write_text(text)
    parts = zip(("train", "val", "test"), np.split(rng.permutation(len(images)), [15, 20]), strict=True)
    partition = {part: np.sort(rows) for part, rows in parts}
    persons = {owner: number for number, owner in enumerate(sorted(set(owners)), start=1)}
    head = [(row, persons[owner], *owner) for row, owner in enumerate(owners, start=1)]
    struct = {
        "data": np.hstack([head, labels]).astype(np.uint16),
        "attribute": cells(names),
        "partion_attribute": cells([{part: (rows[:, None] + 1).astype(np.uint16) for part, rows in partition.items()}]),
    }
    scipy.io.savemat(root.parent / "PETA.mat", {"peta": struct})
    assert images == sorted(images, key=lambda image: (image.split("/")[0].lower(), os.fsencode(image)))
    return SimpleNamespace(root=root, images=images, owners=owners, labels=np.array(labels), partition=partition)
