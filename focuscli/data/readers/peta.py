"""PETA as downloaded: where the images of either layout lie, their labels, and the splits.

Layout "subsets" is what PETA's authors distribute: for each of ten subsets the folder <subset>/archive with image files
and a Label.txt. Layout "numbered" is the repackaged copy of many papers: images/00001.png and so on. PETA.mat holds labels
and partitions for both; without it, Label.txt gives the labels.

Image i of PETA.mat is the i-th file of the subsets in alphabetical order (letter case aside), each with its image files
in byte order of their names; natural number order would be wrong in 3DPeS and TownCentre. The person's number at the
head of each file name equals the fourth column of PETA.mat for all 19,000 images, which `read_peta` checks. The order of one
person's frames is inferred: in all subsets but CUHK and MIT labels are per person, so that another order would move frames
between splits, but change no label.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from focuscli.data.formats import looks_like_image
from focuscli.data.readers import mat
from focuscli.data.readers.annotations import PARTITIONS_OVERLAP, Annotations, official_partition, reading
from focuscli.data.readers.pickles import ZS_PREFIX, read_zero_shot_splits, zero_shot_file
from focuscli.data.schema import AttributeSchema, builtin_schema
from focuscli.data.splits import identity_split
from focuscli.errors import InputError, UsageError, did_you_mean, listed
from focuscli.storage.paths import user_path

PUBLISHED = {
    "official": {"train": 9_500, "val": 1_900, "test": 7_600},
    "paper": {"train": 7_600, "test": 1_900, "unused": 9_500},
    "zs": {"train": 11_241, "val": 3_826, "test": 3_933},
}
IDENTITY_FRACTIONS = {"train": 0.5, "val": 0.1, "test": 0.4}  # the shares of the official partitions
IDENTITY_SEED = 0
SUBSET_FRACTIONS = {"train": 0.9, "val": 0.1}
# --split paper: the part of partition 0 -> what the paper's sentence seems to use it for.
PAPER = {"train": "unused", "val": "test", "test": "train"}
SUBSETS = ("3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR")
# Digits of the person's number where it need not end at a "_".
_PREFIX_DIGITS = {"i-LID": 4, "MIT": 5, "PRID": 4, "SARC3D": 3, "VIPeR": 3}
_ALIASES = {"footwearSneakers": "footwearSneaker"}  # Label.txt's spelling -> PETA.mat's
_LABEL_COLUMN = 4  # of PETA.mat's table; before it: image number, global person, subset, person within the subset
Owner = tuple[int, int]
"""The subset, from 1, and the person's number in it."""
_HINT = "Give the folder that holds the ten subsets (3DPeS/archive, ...), or images/00001.png and so on with PETA.mat."
_PUBLISHED = "Published rows use partition 0 (POAR's code: 4) and train on train + val (11,400 images): "
_PUBLISHED += "--train-split trainval. Those with ALM's lists are on another division."
_NOTES = [
    f"{PARTITIONS_OVERLAP}; --split identity has no person in two parts",
    "the FOCUS paper's 9,500 images, 7,600 for training and 1,900 for test, fit no partition; --split paper reads that",
]
_WARNINGS = {
    "official": [_PUBLISHED],
    "identity": ["This split is our own (no person in two parts): it compares with no published row."],
    "zs": ["Such files were never checked on a real one: compare the counts with the published ones."],
    "subset": ["Test images come from camera sites that training never saw: this compares with no published row."],
    "paper": [
        "--split paper reads a sentence that fits no official file (9,500 images: 7,600 for training, 1,900 for test) in "
        "the only way that the counts allow. It compares with no published row."
    ],
}


def read_peta(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read PETA as downloaded.

    Args:
        source: the folder with the ten subsets or with images/00001.png, or one at most two levels above.
        split: "official:K": partition K of PETA.mat. "identity": 50, 10 and 40% without a person in two of them.
            "paper": a reading of the FOCUS paper's sentence on PETA, which fits no official file, see `PAPER`.
            "subset:VIPeR,GRID": these camera sites are the test images, the others train and, with a tenth of their
            persons, val. "zs:FILE": PETA-ZS, see `read_zero_shot_splits`.
        images: must be None, because PETA's images are found by their place in the download.

    Raises:
        UsageError: no such split, or `images` is given.
        InputError: not PETA, incomplete, PETA.mat does not fit the images, or the split needs it.
    """
    if images is not None:
        raise UsageError("PETA's images are found by their place in the download.", "Remove --images.")
    kind, argument = _parse_split(split)
    schema = builtin_schema("peta")
    root, names, owners, file = _find(source)
    if file is not None:
        labels, known, partition = _read_mat(file, schema, argument if kind == "official" else 0)
        notes = [f"labels from {file.name}"]
        if len(known) != len(names) or owners not in ([], known):
            # A file is missing or was added: every image after it would have another's labels.
            pairs = zip(names, owners, known, strict=False)
            first = next((name for name, ours, theirs in pairs if ours != theirs), names[-1])
            raise InputError(
                f"The {len(names):,} images in {root} are not the {len(known):,} of {file} (look at {first}).",
                "Files were renamed, added or lost; unpack PETA again.",
            )
    elif not owners or kind in ("official", "paper"):
        raise InputError(
            f"There is no PETA.mat in {root} or beside it, which holds split {split} and the labels of numbered images.",
            "Put PETA.mat there (it comes with most repositories on the subject). With the authors' own folders and "
            "their Label.txt, --split identity does without it.",
        )
    else:
        known, partition = owners, np.array([], np.str_)
        labels, notes = _read_label_texts(root, names, owners, schema)
    persons = np.array([f"{SUBSETS[subset - 1]}/{number}" for subset, number in known])
    if kind == "identity":
        splits = identity_split(persons, IDENTITY_FRACTIONS, IDENTITY_SEED)
    elif kind == "subset":
        tested = np.array([subset in argument for subset, _ in known])
        splits = np.full(len(persons), "test", dtype="U6")
        splits[~tested] = identity_split(persons[~tested], SUBSET_FRACTIONS, IDENTITY_SEED)
    elif kind == "zs":
        splits = read_zero_shot_splits(argument, [f"{row:05}.png" for row in range(1, len(persons) + 1)])
    else:
        splits = partition if kind == "official" else np.array([PAPER[part] for part in partition.tolist()])
    notes += _NOTES if kind == "official" else []
    return Annotations(
        schema, root, names, splits, persons, labels, split, PUBLISHED.get(kind), [*_WARNINGS[kind]], notes
    )


def _parse_split(split: str) -> tuple[str, Any]:
    """The kind of split, and the partition's number, the numbers of the tested subsets, or the file."""
    if split in ("identity", "paper"):
        return split, None
    if split.startswith(ZS_PREFIX):
        return "zs", zero_shot_file(split)
    if not split.startswith("subset:"):
        known = "official:0 to official:4, identity, paper, subset:VIPeR,GRID, zs:FILE"
        return "official", official_partition(split, known)
    numbers = {name.lower(): number for number, name in enumerate(SUBSETS, start=1)}
    tested = [name.strip() for name in split.removeprefix("subset:").split(",")]
    for name in tested:
        if name.lower() not in numbers:
            raise UsageError(f'PETA has no subset "{name}".', did_you_mean(name, SUBSETS))
    if {name.lower() for name in tested} == set(numbers):
        raise UsageError(f'Split "{split}" leaves no images to train on.', "Example: --split subset:VIPeR,GRID")
    return "subset", {numbers[name.lower()] for name in tested}


def _find(source: Path) -> tuple[Path, list[str], list[Owner], Path | None]:
    """The root of the images; their names in PETA.mat's order; whom each shows (empty in layout "numbered"); PETA.mat."""
    source = user_path(source).resolve()
    if source.suffix == ".mat":
        source = source.parent
    if not source.is_dir():
        raise InputError(f"There is no folder {source}.", _HINT)
    owners: list[Owner] = []
    for root in (source, *sorted(source.glob("*/")), *sorted(source.glob("*/*/"))):
        if any((root / name).is_dir() for name in SUBSETS):
            names, owners = _subset_images(root)
            break
        if any(root.glob("00001.*")):
            names = sorted(f for f in os.listdir(root) if re.match(r"[0-9]{5}\.", f) and looks_like_image(f))
            wrong = [name for number, name in enumerate(names, start=1) if int(name[:5]) != number]
            if wrong:
                raise InputError(f"In {root} an image before {wrong[0]} is missing or there twice.", "Copy them again.")
            break
    else:
        raise InputError(f"{source} is not PETA: no subset such as 3DPeS and no images/00001.png in it.", _HINT)
    files = [folder / "PETA.mat" for folder in (source, root, root.parent)]
    return root, names, owners, next((file for file in files if file.is_file()), None)


def _subset_images(root: Path) -> tuple[list[str], list[Owner]]:
    images: list[str] = []
    owners: list[Owner] = []
    for subset, name in enumerate(SUBSETS, start=1):
        folder = root / name / "archive" if (root / name / "archive").is_dir() else root / name
        found = os.listdir(folder) if folder.is_dir() else []
        files = [file for file in found if looks_like_image(file) and not file.startswith(".")]
        if not files:
            raise InputError(f"PETA's subset {name} has no images in {folder}.", _HINT)
        for file in sorted(files, key=os.fsencode):
            digits = re.match("[0-9]+", file)
            if digits is None:
                raise InputError(f"{folder / file} is no image of PETA: their names begin with a number.", "Remove it.")
            images.append((folder / file).relative_to(root).as_posix())
            owners.append((subset, int(digits[0][: _PREFIX_DIGITS.get(name)])))
    return images, owners


def _read_mat(
    file: Path, schema: AttributeSchema, number: int
) -> tuple[NDArray[np.int8], list[Owner], NDArray[np.str_]]:
    """Of PETA.mat: labels [N, A] in schema order; whom each image shows; the split [N] in partition `number`."""
    with reading(file, "Fetch the file again; the real one has 343,449 bytes."):
        struct = mat.variables(file)["peta"][0, 0]
        data = np.asarray(struct["data"]).astype(np.int64)  # uint16 in the file
        names = mat.strings(struct["attribute"])
        labels = mat.attribute_labels(data[:, _LABEL_COLUMN:], names, schema, (0, 1))
        if not np.array_equal(data[:, 0], np.arange(1, len(data) + 1)):
            raise ValueError(f"its first column does not count from 1 to {len(data)}")
        if not np.isin(data[:, 2], np.arange(1, len(SUBSETS) + 1)).all():
            raise ValueError("it has subset numbers other than 1 to 10")
        parts = {part: part for part in PUBLISHED["official"]}
        partition = mat.partition_splits(struct["partion_attribute"], number, parts, len(data))
    return labels, [(subset, person) for subset, person in data[:, 2:4].tolist()], partition


def _read_label_texts(
    root: Path, images: list[str], owners: list[Owner], schema: AttributeSchema
) -> tuple[NDArray[np.int8], list[str]]:
    """Read the ten Label.txt files of layout "subsets": labels [N, A] in schema order, and notes.

    A line is a key and the names of the attributes that are true: per file in CUHK, per person in the other subsets.
    """
    columns = {attribute.name: number for number, attribute in enumerate(schema.attributes)}
    labels = np.zeros((len(images), len(columns)), np.int8)
    unknown: set[str] = set()
    texts: dict[Path, dict[int, set[str]]] = {}
    for row, (image, (_, key)) in enumerate(zip(images, owners, strict=True)):
        file = (root / image).with_name("Label.txt")
        with reading(file, "Unpack PETA again, or add PETA.mat."):
            if file not in texts:
                texts[file] = parse_label_text(file.read_text(encoding="utf-8-sig", errors="replace"))
            if key not in texts[file]:
                raise ValueError(f"it has no line for {image}")
        words = texts[file][key]
        labels[row, [columns[word] for word in words & columns.keys()]] = 1
        unknown |= words - columns.keys()
    notes = ["labels from Label.txt"]
    if unknown:
        notes.append(f"ignored words in Label.txt that PETA.mat does not have: {listed(sorted(unknown))}")
    return labels, notes


def parse_label_text(text: str) -> dict[int, set[str]]:
    """The attributes per key of a Label.txt: lines of a number (or a file name that begins with one) and names.

    Raises:
        ValueError: a line begins with something else.
    """
    lines: dict[int, set[str]] = {}
    for line in filter(str.strip, text.splitlines()):
        key, *words = line.split()
        digits = re.match(r"[0-9]+", key)  # CUHK's keys are file names, whose suffix may differ from the file's
        if digits is None:
            raise ValueError(f'the line "{line}" does not begin with a number')
        lines.setdefault(int(digits[0]), set()).update(_ALIASES.get(word, word) for word in words)
    return lines
