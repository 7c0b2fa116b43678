"""A small schema, tiny image files, and miniature downloads of each official dataset."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.data.synthetic.official import write_official

# File names as in the ten subsets, one list per person's number. Byte order and natural order differ in 3DPeS and
# TownCentre; letter case matters in SARC3D.
SUBSET_FILES: dict[str, list[str]] = {
    "3DPeS": ["100_3_FRAME_26_RGB.bmp", "100_3_FRAME_9_RGB.bmp", "12_1_FRAME_2_RGB.bmp", "9_1_FRAME_1_RGB.bmp"],
    "CAVIAR4REID": ["0001_001.jpg", "0001_002.jpg", "0053_001.jpg"],
    "CUHK": ["0002.png", "0003.png", "0010.png", "0606.png"],
    "GRID": ["0001_1_25004_107.jpeg", "0001_2_25023_116.jpeg", "0989_1_2_3.jpeg"],
    "i-LID": ["0057001.jpg", "0057002.jpg", "0059001.jpg"],
    "MIT": ["00001_male_back.jpg", "00002_female_front.jpg", "00924_male_back.JPG"],
    "PRID": ["0001_a.png", "0001_b.png", "0709_a.png"],
    "SARC3D": ["001_Right.bmp", "001_back.bmp", "030_Left.bmp"],
    "TownCentre": ["0_16.jpg", "0_8.jpg", "100_1726.jpg", "20_3.jpg"],
    "VIPeR": ["000_45_1.bmp", "000_45_2.bmp", "806_0_1.bmp"],
}
LABEL_KEY_WIDTH = {"CAVIAR4REID": 4, "GRID": 4, "i-LID": 4, "MIT": 5, "PRID": 4, "SARC3D": 3, "VIPeR": 3}
PREFIX = {"i-LID": 4}


@dataclass
class FakePeta:
    """A tree on disk with what a reader must find in it, in the order of PETA.mat."""

    root: Path
    images: list[str]
    subsets: list[int]
    numbers: list[int]
    labels: NDArray[np.int8]
    partitions: list[dict[str, NDArray[np.int64]]]


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


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (12, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def make_image() -> Callable[..., None]:
    return write_image


def cells(values: Any) -> NDArray[Any]:
    """A MATLAB cell array [n, 1]."""
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = values
    return array


def save_mat(path: Path, fake: FakePeta) -> None:
    """A PETA.mat with the real one's nesting: struct of table, cell of names, column numbers, cell of structs."""
    pairs = [*zip(fake.subsets, fake.numbers, strict=True)]
    persons = {key: number for number, key in enumerate(sorted(set(pairs)), 1)}
    head = np.array([(row, persons[pair], *pair) for row, pair in enumerate(pairs, 1)])
    partitions = [
        {part: (rows[:, None] + 1).astype(np.uint16) for part, rows in partition.items()}
        for partition in fake.partitions
    ]
    struct = {
        "data": np.hstack([head, fake.labels]).astype(np.uint16),
        "attribute": cells([attribute.name for attribute in builtin_schema("peta").attributes]),
        "selected_attribute": np.arange(5, 40, dtype=np.uint8)[None],
        "partion_attribute": cells(partitions),
    }
    scipy.io.savemat(path, {"peta": struct})


def save_pa100k(path: Path) -> None:
    """An annotation.mat of 6 images in three parts; image k has attribute k alone."""
    variables: dict[str, Any] = {"attributes": cells([row.name for row in builtin_schema("pa100k").attributes])}
    for part, rows in (("train", [0, 1, 2]), ("val", [3]), ("test", [4, 5])):
        variables[f"{part}_images_name"] = cells([f"{row + 1:06}.jpg" for row in rows])
        variables[f"{part}_label"] = np.eye(26, dtype=np.uint8)[rows]
    scipy.io.savemat(path, variables)


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
    partitions = []
    for _ in range(5):
        parts = zip(("train", "val", "test"), np.split(rng.permutation(20) + 1, [12, 16]), strict=True)
        partitions.append({f"{part}_index": rows[None] for part, rows in parts})
    struct = {
        "name": cells([f"CAM01_{row:04}.png" for row in range(20)]),
        "data": data,
        "attribute": cells(columns),
        "selected_attribute": np.array([[columns.index(name) + 1 for name in evaluated]], np.uint8),
        "partition_attribute": cells(partitions).T,
    }
    scipy.io.savemat(path, {"RAP_annotation": struct})


@pytest.fixture
def annotation_file(fake_peta: Callable[..., FakePeta], tmp_path: Path) -> Callable[[str], Path]:
    """Make a dataset's .mat file, in a folder that its reader takes."""

    def build(name: str) -> Path:
        if name == "peta":
            return fake_peta().root.parent / "PETA.mat"
        folder = tmp_path / name
        if name == "rapv1":
            write_official("rapv1", folder, images=24, seed=2)
            return folder / "RAP_annotation" / "RAP_annotation.mat"
        folder.mkdir()
        path = folder / {"pa100k": "annotation.mat", "rapv2": "RAP_annotation.mat"}[name]
        {"pa100k": save_pa100k, "rapv2": save_rapv2}[name](path)
        return path

    return build


@pytest.fixture
def mat_fields() -> Callable[..., dict[str, Any]]:
    """The fields of a .mat file's struct, or its variables if it has several, after some of them were replaced.

    Called with the path and `change`: fields -> the changed ones, where None removes one.
    """

    def edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> dict[str, Any]:
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
def fake_peta(tmp_path: Path) -> Callable[..., FakePeta]:
    """Make a tree: layout "subsets" or "numbered", with or without PETA.mat."""

    def build(layout: str = "subsets", *, mat: bool = True, folder: str = "download") -> FakePeta:
        top = tmp_path / folder
        root = top / "PETA dataset" if layout == "subsets" else top / "images"
        rng = np.random.default_rng(5)
        images, subsets, numbers = [], [], []
        people: dict[tuple[int, int], NDArray[np.int8]] = {}
        for subset, (name, files) in enumerate(SUBSET_FILES.items(), start=1):
            for file in sorted(files, key=os.fsencode):
                digits = "".join(itertools.takewhile(str.isdigit, file))
                number = int(digits[: PREFIX.get(name)])
                people.setdefault((subset, number), (rng.random(105) < 0.3).astype(np.int8))
                images.append(f"{name}/archive/{file}")
                subsets.append(subset)
                numbers.append(number)
        labels = np.stack([people[key] for key in zip(subsets, numbers, strict=True)])
        partitions = []
        for _ in range(5):
            order = rng.permutation(len(images))
            cuts = [len(images) // 2, len(images) * 6 // 10]
            partitions.append(dict(zip(("train", "val", "test"), map(np.sort, np.split(order, cuts)), strict=True)))
        fake = FakePeta(root, images, subsets, numbers, labels, partitions)
        if layout == "numbered":
            fake.images = [f"{row:05d}.png" for row in range(1, len(images) + 1)]
        for row, image in enumerate(fake.images):
            write_image(root / image, seed=row)
        if layout == "subsets":
            _write_label_texts(root, people)
        if mat:
            save_mat(top / "PETA.mat", fake)
        return fake

    return build


def _write_label_texts(root: Path, people: dict[tuple[int, int], NDArray[np.int8]]) -> None:
    names = [attribute.name for attribute in builtin_schema("peta").attributes]
    names[names.index("footwearSneaker")] = "footwearSneakers"
    for subset, name in enumerate(SUBSET_FILES, start=1):
        lines = []
        for (owner, number), row in people.items():
            if owner != subset:
                continue
            key = str(number).zfill(LABEL_KEY_WIDTH.get(name, 1))
            if name == "CUHK":
                key = f"{number:04d}.png"
            lines.append(" ".join([key, *(names[position] for position in np.flatnonzero(row))]))
        if name == "CUHK":
            lines.append("0000.png personalMale")
        if name == "3DPeS":
            lines[0] += " lowerBodyLogo"
        (root / name / "archive" / "Label.txt").write_text("\r\n".join(reversed(lines)) + "\r\n")
