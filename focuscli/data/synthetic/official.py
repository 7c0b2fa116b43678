"""Synthetic pedestrians in the file structures of official downloads, so that `focus prepare` and all after it have pixels.

Names, nesting and dtypes of what readers use, folders and image names are those of the real files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from focuscli.data.folder import check_target
from focuscli.data.prepare import DRAWN, Progress
from focuscli.data.schema import UNCERTAIN, builtin_schema
from focuscli.data.splits import identity_split
from focuscli.data.synthetic.generate import synthetic_images
from focuscli.data.synthetic.people import labels_of
from focuscli.errors import UsageError, did_you_mean
from focuscli.storage.files import atomic_folder

Labels = NDArray[np.int8]
Numbers = NDArray[np.int64]
Cells = NDArray[np.object_]
NONE_OF = "none of"
# What RAPv1's file leaves open, for every so many-th image: whether it shows a woman, and who it shows.
_UNCERTAIN_EVERY, _UNKNOWN_EVERY = 40, 3


def write_official(
    kind: str,
    out: Path,
    *,
    images: int = 600,
    seed: int = 0,
    style: str = "street",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Draw people and write them as an official download: annotation file and images.

    Args:
        kind: "peta" (images/00001.png and PETA.mat), "pa100k" or "rapv1".
        images, seed, style, progress: see `synthetic_images`.

    Raises:
        UsageError: unknown kind or style.
        InputError: `out` exists and is none of these, or may not be replaced.
    """
    if kind not in _DOWNLOADS:
        raise UsageError(f'Cannot write the structure of "{kind}".', did_you_mean(kind, _DOWNLOADS))
    check_target(out, overwrite=overwrite, marker=DRAWN)
    image_path, annotations, variables = _DOWNLOADS[kind]
    with atomic_folder(out, overwrite=overwrite) as folder:
        names, people, seen = [], [], []
        for number, sample in enumerate(synthetic_images(images, seed, style, progress), start=1):
            path = folder / image_path.format(number=number, person=sample.number, camera=1 + number % 23)
            path.parent.mkdir(parents=True, exist_ok=True)
            sample.image.save(path, quality=90)
            names.append(path.name)
            people.append(sample.number)
            seen.append(labels_of(sample.person))
        (folder / annotations).parent.mkdir(exist_ok=True)
        table = official_labels(kind, seen)
        attributes = _cells([attribute.name for attribute in builtin_schema(kind).attributes])
        scipy.io.savemat(folder / annotations, variables(names, attributes, table, np.array(people), seed))
        (folder / DRAWN).write_text(f"{images} synthetic images in the file structure of {kind}; no real person.\n")


def official_labels(kind: str, seen: Sequence[Mapping[str, int]]) -> Labels:
    """The official labels [N, A], in the schema's order, of images of which this is true, see `labels_of`.

    What synthetic pedestrians never show (an attribute without a rule in official.toml) is 0 in all of them.
    """
    text = (Path(__file__).parent / "official.toml").read_text(encoding="utf-8")
    attributes = builtin_schema(kind).attributes
    rules = tomllib.loads(text)[kind] or {attribute.name: [attribute.name] for attribute in attributes}
    words = [rules.get(attribute.name, []) for attribute in attributes]
    rows = [[any(labels.get(name) for name in names) != (NONE_OF in names) for names in words] for labels in seen]
    return np.array(rows, np.int8)


def _cells(values: Sequence[Any]) -> Cells:
    """A MATLAB cell array [n, 1]."""
    cells = np.empty((len(values), 1), dtype=object)
    cells[:, 0] = values
    return cells


def _partitions(parts: Mapping[str, float], people: Numbers, seed: int) -> list[dict[str, NDArray[np.uint16]]]:
    """Five splits without a person in two parts; per part the numbers of its images, from 1."""
    splits = [identity_split(people.astype(np.str_), parts, seed + number) for number in range(5)]
    return [{part: (np.flatnonzero(split == part) + 1).astype(np.uint16) for part in parts} for split in splits]


def _peta(names: list[str], attributes: Cells, table: Labels, people: Numbers, seed: int) -> dict[str, Any]:
    # The ten subsets in turn, person by person; a person's number inside the subset is the global one.
    head = np.stack([np.arange(1, len(names) + 1), people, 1 + people % 10, people], axis=1)
    partitions = _partitions({"train": 0.5, "val": 0.1, "test": 0.4}, people, seed)
    struct = {
        "data": np.hstack([head, table]).astype(np.uint16),
        "attribute": attributes,
        "partion_attribute": _cells([{part: rows[:, None] for part, rows in split.items()} for split in partitions]),
    }
    return {"peta": struct}


def _pa100k(names: list[str], attributes: Cells, table: Labels, people: Numbers, seed: int) -> dict[str, Any]:
    # Its parts are runs of numbers; each begins with a new person.
    starts = np.flatnonzero(np.diff(people, prepend=0))
    cuts = [int(starts[np.searchsorted(starts, share * len(names))]) for share in (0.7, 0.85)]
    variables: dict[str, Any] = {"attributes": attributes}
    for part, rows in zip(("train", "val", "test"), np.split(np.arange(len(names)), cuts), strict=True):
        variables[f"{part}_images_name"] = _cells([names[row] for row in rows])
        variables[f"{part}_label"] = table[rows].astype(np.uint8)
    return variables


def _rapv1(names: list[str], attributes: Cells, table: Labels, people: Numbers, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    table = table.astype(np.int32)
    table[_UNCERTAIN_EVERY // 2 :: _UNCERTAIN_EVERY, builtin_schema("rapv1").index("Female")] = UNCERTAIN
    identity = people[:, None].astype(np.int16)
    identity[::_UNKNOWN_EVERY] = -1
    partitions = [
        {f"{part}_index": rng.permutation(rows)[None] for part, rows in partition.items()}
        for partition in _partitions({"train": 0.8, "test": 0.2}, people, seed)
    ]
    struct = {
        "partion": _cells(partitions),
        "label": table,
        "attribute_eng": attributes,
        "imagesname": _cells(names),
        "identity": identity,
    }
    return {"RAP_annotation": struct}


# Of each kind: the path of an image in the download, the path of the annotation file, and what gives its variables: a
# function of N file names, the names of A attributes, official labels [N, A], persons [N] from 1, and the seed.
_DOWNLOADS: dict[str, tuple[str, str, Callable[..., dict[str, Any]]]] = {
    "peta": ("images/{number:05}.png", "PETA.mat", _peta),
    "pa100k": ("release_data/release_data/{number:06}.jpg", "annotation.mat", _pa100k),
    "rapv1": (
        "RAP_dataset/CAM{camera:02}_drawn_tarid{person}_frame{number}_line1.png",
        "RAP_annotation/RAP_annotation.mat",
        _rapv1,
    ),
}
