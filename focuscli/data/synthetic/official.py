"""Drawn pedestrians in the file structures of official downloads, so that `focus prepare` and all after it have pixels.

The structures are those of facts on the real files: variable names, nesting, dtypes, folders and image names.
"""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.schema import UNCERTAIN, builtin_schema
from focuscli.data.splits import identity_split
from focuscli.data.synthetic.canvas import Box
from focuscli.data.synthetic.drawing import SIZE, draw
from focuscli.data.synthetic.generate import cast_of, style_key
from focuscli.data.synthetic.labels import details_of, labels_of
from focuscli.data.synthetic.styles import style_of
from focuscli.errors import InputError, UsageError
from focuscli.storage.files import atomic_folder

MARKER = "drawn-by-focus.txt"
PARTITIONS = 5
NONE_OF = "none of"
IMAGE_FOLDERS = {"peta": "images", "pa100k": "release_data/release_data", "rapv1": "RAP_dataset"}
Rules = Mapping[str, Sequence[str]]
# What RAPv1's file leaves open, for every so many-th image: whether it shows a woman, and who it shows.
_UNCERTAIN_EVERY, _UNKNOWN_EVERY = 40, 3
_FRAME_OFFSET = (600, 40)  # where the crop lies in the camera's frame, in pixels to the right and down


@dataclass(frozen=True, eq=False)
class _Content:
    """N drawings: image names, official labels [N, A], persons [N] from 1, boxes of body regions."""

    names: list[str]
    table: NDArray[np.int8]
    people: NDArray[np.int64]
    boxes: list[Mapping[str, Box]]
    seed: int


def write_official(
    kind: str,
    out: Path,
    *,
    images: int = 600,
    seed: int = 0,
    style: str = "street",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw people and write them as an official download: annotation file and images.

    Args:
        kind: "peta" (images/00001.png and PETA.mat), "pa100k" or "rapv1".
        images, seed, style, progress: see `prepare_synthetic`.

    Raises:
        UsageError: unknown kind or style, too few images. InputError: `out` exists and is none of these, or may not be
        replaced.
    """
    if kind not in IMAGE_FOLDERS:
        raise UsageError(f'Cannot draw in the structure of "{kind}".', f"Known: {', '.join(IMAGE_FOLDERS)}.")
    if images < 20:
        raise UsageError(f"{images} images are too few for three splits.", "Ask for at least 20.")
    camera = style_of(style)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file())):
        raise InputError(f"{out} exists and was not drawn by focus; nothing was changed.", "Choose another folder.")
    cast = [*cast_of(images, seed, camera.name)]
    owners = np.array([name for name, _ in cast], np.str_)
    people = np.unique(owners, return_inverse=True)[1].astype(np.int64) + 1
    table = official_labels(kind, [labels_of(person) | details_of(person) for _, person in cast])
    names = _image_names(kind, people)
    with atomic_folder(out, overwrite=overwrite) as temporary:
        folder = temporary / IMAGE_FOLDERS[kind]
        folder.mkdir(parents=True)
        boxes: list[Mapping[str, Box]] = []
        for number, (_, person) in enumerate(cast):
            drawing = draw(person, camera, rng=np.random.default_rng([seed, style_key(style), number]))
            drawing.image.save(folder / names[number], quality=camera.quality)
            boxes.append(drawing.boxes)
            if progress is not None:
                progress(number + 1, images)
        _SAVE[kind](temporary, _Content(names, table, people, boxes, seed))
        (temporary / MARKER).write_text(f"{images} drawings in the file structure of {kind}; no real person.\n")


def official_labels(kind: str, drawn: Sequence[Mapping[str, int]]) -> NDArray[np.int8]:
    """The official labels [N, A], in the schema's order, of drawings of which this is true: their own labels and
    details."""
    rules = _rules(kind)
    table = np.zeros((len(drawn), len(builtin_schema(kind).attributes)), np.int8)
    for column, attribute in enumerate(builtin_schema(kind).attributes):
        first, *rest = rules.get(attribute.name) or [""]
        for row, labels in enumerate(drawn):
            if first == NONE_OF:
                table[row, column] = not any(labels[name] for name in rest)
            elif first:
                table[row, column] = any(labels[name] for name in (first, *rest))
    return table


def _rules(kind: str) -> Rules:
    text = (importlib.resources.files("focuscli.data.synthetic") / "official.toml").read_text(encoding="utf-8")
    rules: Rules = tomllib.loads(text)[kind]
    return rules or {attribute.name: [attribute.name] for attribute in builtin_schema(kind).attributes}


def _image_names(kind: str, people: NDArray[np.int64]) -> list[str]:
    if kind == "pa100k":
        return [f"{number:06}.jpg" for number in range(1, len(people) + 1)]
    if kind == "peta":
        return [f"{number:05}.png" for number in range(1, len(people) + 1)]
    return [
        f"CAM{1 + row % 23:02}_drawn_tarid{person}_frame{row}_line1.png" for row, person in enumerate(people.tolist())
    ]


def _cells(values: Sequence[Any]) -> NDArray[Any]:
    """A MATLAB cell array [n, 1]."""
    cells = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        cells[row, 0] = value
    return cells


def _partitions(parts: Mapping[str, float], people: NDArray[np.int64], seed: int) -> list[dict[str, NDArray[np.int64]]]:
    """Five splits without a person in two parts; per part the numbers of its images, from 1."""
    owners = people.astype(np.str_)
    splits = [identity_split(owners, parts, seed + number) for number in range(PARTITIONS)]
    return [{part: np.flatnonzero(split == part) + 1 for part in parts} for split in splits]


def _save_peta(folder: Path, content: _Content) -> None:
    import scipy.io

    names, table, people = content.names, content.table, content.people
    # The ten subsets in turn, person by person; a person's number inside the subset is the global one.
    head = np.stack([np.arange(1, len(names) + 1), people, 1 + people % 10, people], axis=1)
    partitions = [
        {part: rows[:, None].astype(np.uint16) for part, rows in partition.items()}
        for partition in _partitions({"train": 0.5, "val": 0.1, "test": 0.4}, people, content.seed)
    ]
    struct = {
        "data": np.hstack([head, table]).astype(np.uint16),
        "attribute": _cells([attribute.name for attribute in builtin_schema("peta").attributes]),
        "selected_attribute": np.arange(5, 40, dtype=np.uint8)[None],
        "partion_attribute": _cells(partitions),
    }
    scipy.io.savemat(folder / "PETA.mat", {"peta": struct})


def _save_pa100k(folder: Path, content: _Content) -> None:
    import scipy.io

    names, table, people = content.names, content.table, content.people
    # Its parts are runs of numbers; each begins with a new person.
    starts = np.flatnonzero(np.diff(people, prepend=0))
    cuts = [int(starts[np.searchsorted(starts, share * len(names))]) for share in (0.7, 0.85)]
    parts = dict(zip(("train", "val", "test"), np.split(np.arange(len(names)), cuts), strict=True))
    variables: dict[str, Any] = {"attributes": _cells([a.name for a in builtin_schema("pa100k").attributes])}
    for part, rows in parts.items():
        variables[f"{part}_images_name"] = _cells([names[row] for row in rows])
        variables[f"{part}_label"] = table[rows].astype(np.uint8)
    scipy.io.savemat(folder / "annotation.mat", variables)


def _save_rapv1(folder: Path, content: _Content) -> None:
    import scipy.io

    names, table, people = content.names, content.table, content.people
    schema = builtin_schema("rapv1")
    rng = np.random.default_rng(content.seed)
    table = table.astype(np.int32)
    table[_UNCERTAIN_EVERY // 2 :: _UNCERTAIN_EVERY, schema.index("Female")] = UNCERTAIN
    identity = people[:, None].astype(np.int16)
    identity[::_UNKNOWN_EVERY] = -1
    partitions = [
        {f"{part}_index": rng.permutation(rows)[None].astype(np.uint16) for part, rows in partition.items()}
        for partition in _partitions({"train": 0.8, "test": 0.2}, people, content.seed)
    ]
    known = np.unique(identity[identity > 0]).astype(np.uint16)
    struct = {
        "partion": _cells(partitions),
        "label": table,
        "attribute_chinese": _cells([attribute.phrase for attribute in schema.attributes]),
        "attribute_eng": _cells([attribute.name for attribute in schema.attributes]),
        "position": np.array([_position(boxes) for boxes in content.boxes], np.int32),
        "imagesname": _cells(names),
        "attribute_exp": _cells([re.sub("^[a-z]+-", "", attribute.name) for attribute in schema.evaluated]),
        "identity": identity,
        "reid_partion": {"train_identity": known[::2][None], "test_identity": known[1::2][None]},
    }
    (folder / "RAP_annotation").mkdir()
    scipy.io.savemat(folder / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": struct})


def _position(boxes: Mapping[str, Box]) -> list[int]:
    """RAPv1's four boxes as left, top, width and height in the camera's frame: the crop, then head, upper and lower body."""
    height, width = SIZE
    numbers = [*_FRAME_OFFSET, width, height]
    for region in ("head", "upper", "lower"):
        left, top, right, bottom = (round(value) for value in boxes[region])
        numbers += [left + _FRAME_OFFSET[0], top + _FRAME_OFFSET[1], right - left, bottom - top]
    return numbers


_SAVE: dict[str, Callable[[Path, _Content], None]] = {
    "peta": _save_peta,
    "pa100k": _save_pa100k,
    "rapv1": _save_rapv1,
}
