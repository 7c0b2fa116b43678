"""PETA put together: images and labels in the order of PETA.mat, the splits, and what readers of figures must know."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.labels_csv import SPLITS
from focuscli.data.readers.identity_file import ZS_PREFIX, identity_file, read_identity_splits
from focuscli.data.readers.official import rare_attributes
from focuscli.data.readers.peta_files import LEFT_OUT, SUBSETS, LabelTexts, PetaFiles, find_peta, read_label_texts
from focuscli.data.readers.peta_mat import PARTS, PetaMat, read_mat
from focuscli.data.schema import AttributeSchema
from focuscli.data.splits import identity_split, shared_persons
from focuscli.errors import InputError, UsageError

PUBLISHED_IMAGES = 19_000
PUBLISHED_PARTS = {"train": 9_500, "val": 1_900, "test": 7_600}
PUBLISHED_ZS = {"train": 11_241, "val": 3_826, "test": 3_933}
IDENTITY_FRACTIONS = {"train": 0.5, "val": 0.1, "test": 0.4}  # the shares of the official partitions
IDENTITY_SEED = 0
SUBSET_FRACTIONS = {"train": 0.9, "val": 0.1}
SUBSET_EXAMPLE = "Name the subsets to test on: --split subset:VIPeR,GRID"


@dataclass(frozen=True, eq=False)
class Peta:
    """PETA's images with their labels, N of them.

    Attributes:
        persons: [N] "<subset>/<number>", the same with and without PETA.mat.
        labels: [N, A] int8 in schema order.
        mat: content of PETA.mat, or None where there is none.
        notes: what was found and checked.
    """

    files: PetaFiles
    persons: NDArray[np.str_]
    labels: NDArray[np.int8]
    mat: PetaMat | None
    notes: list[str] = field(default_factory=list)


def read_peta(source: Path, schema: AttributeSchema) -> Peta:
    """Find and read PETA; with both PETA.mat and Label.txt there, check one against the other.

    Raises:
        InputError: not PETA, incomplete, or PETA.mat does not fit the images.
    """
    files = find_peta(source)
    mat = read_mat(files.mat, schema) if files.mat else None
    notes: list[str] = []
    if files.ignored:
        notes.append(f"{files.ignored} files among the images are no images; left alone")
    if files.layout == "numbered":
        assert mat is not None  # find_peta refuses this layout without it
        if len(mat.labels) != len(files.images):
            raise InputError(
                f"{files.root} has {len(files.images):,} images, but {files.mat} describes {len(mat.labels):,}.",
                "Copy the images again.",
            )
        return Peta(files, _persons(mat.subsets, mat.numbers), mat.labels, mat, notes)
    if mat is not None:
        _check_alignment(files, mat)
        notes.append("the person at the head of each file name is the one in PETA.mat, for every image")
    texts = read_label_texts(files, schema)
    notes += _about_label_texts(texts)
    if mat is not None:
        notes.append(_compare(files, texts, mat))
    labels = texts.labels if mat is None else mat.labels
    return Peta(files, _persons(files.subsets, files.numbers), labels, mat, notes)


def parse_split(split: str) -> tuple[str, int]:
    """The kind of split ("official", "paper", "identity", "subset" or "zs") and the partition's number (0 but for the first).

    Raises:
        UsageError: none of them.
    """
    if split in ("identity", "paper"):
        return split, 0
    if split.startswith("subset:"):
        left_out_subsets(split)
        return "subset", 0
    if split.startswith(ZS_PREFIX):
        identity_file(split)
        return "zs", 0
    match = re.fullmatch(r"official(?::([0-4]))?", split)
    if match is None:
        raise UsageError(
            f'Unknown split "{split}".',
            "There are: official:0 to official:4 (the default is official:0), identity, paper, subset:VIPeR,GRID, "
            "zs:FILE.",
        )
    return "official", int(match[1] or 0)


def left_out_subsets(split: str) -> list[int]:
    """The numbers (from 1) of the subsets that "subset:VIPeR,GRID" keeps for testing.

    Raises:
        UsageError: an unknown one, none, or all of them.
    """
    known = {name.lower(): number for number, name in enumerate(SUBSETS, start=1)}
    names = [name.strip() for name in split.removeprefix("subset:").split(",") if name.strip()]
    for name in names:
        if name.lower() not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            meant = f"Did you mean {SUBSETS[known[close[0]] - 1]}? " if close else ""
            raise UsageError(f'PETA has no subset "{name}".', f"{meant}Subsets: {', '.join(SUBSETS)}.")
    numbers = sorted({known[name.lower()] for name in names})
    if not numbers or len(numbers) == len(SUBSETS):
        raise UsageError(f'Split "{split}" leaves no images to {"train on" if numbers else "test on"}.', SUBSET_EXAMPLE)
    return numbers


def peta_splits(peta: Peta, split: str) -> tuple[NDArray[np.str_], dict[str, int] | None]:
    """The split of each image, and the published counts where there are any.

    "official:K": partition K of PETA.mat. "identity": 50, 10 and 40 % without a person in two of them. "paper": a
    reading of the FOCUS paper's sentence on PETA, which no official file fits: the test part of partition 0 (7,600) for
    training, its val part (1,900) for test, its train part (9,500) unused. "subset:VIPeR,GRID": these camera sites are
    the test images, the other sites train and, with a tenth of their persons, val. "zs:FILE": PETA-ZS, see `identity_file`.

    Raises:
        UsageError: no such split. InputError: it needs PETA.mat and there is none.
    """
    kind, number = parse_split(split)
    if kind == "identity":
        return identity_split(peta.persons, IDENTITY_FRACTIONS, IDENTITY_SEED), None
    if kind == "subset":
        tested = np.isin(peta.files.subsets if peta.mat is None else peta.mat.subsets, left_out_subsets(split))
        splits = np.full(len(peta.persons), "test", dtype="U6")
        splits[~tested] = identity_split(peta.persons[~tested], SUBSET_FRACTIONS, IDENTITY_SEED)
        return splits, None
    if kind == "zs":
        numbered = [f"{number:05}.png" for number in range(1, len(peta.persons) + 1)]
        return read_identity_splits(identity_file(split), numbered), PUBLISHED_ZS
    if peta.mat is None or number >= len(peta.mat.partitions):
        raise InputError(
            f"Split {split} is written in PETA.mat, and there is none in {peta.files.root} or beside it."
            if peta.mat is None
            else f"{peta.files.mat} has {len(peta.mat.partitions)} partitions; {split} is not among them.",
            "Put PETA.mat there (it comes with most repositories on the subject), or use --split identity.",
        )
    names = {"train": "unused", "val": "test", "test": "train"} if kind == "paper" else {part: part for part in PARTS}
    splits = np.empty(len(peta.persons), dtype=object)
    for part, positions in peta.mat.partitions[number].items():
        splits[positions] = names[part]
    published = {names[part]: count for part, count in PUBLISHED_PARTS.items()}
    return splits.astype(np.str_), {name: published[name] for name in SPLITS if name in published}


def peta_warnings(peta: Peta, splits: NDArray[np.str_], split: str, schema: AttributeSchema) -> list[str]:
    """What a reader of figures measured on this split must know, one sentence or two each."""
    kind, number = parse_split(split)
    train = np.flatnonzero(np.isin(splits, ("train", "val")))
    test = np.flatnonzero(splits == "test")
    count = len(peta.persons)
    warnings = []
    if count != PUBLISHED_IMAGES:
        warnings.append(f"PETA has {PUBLISHED_IMAGES:,} images; here are {count:,}. Published figures do not compare.")
    shared, persons, images = shared_persons(peta.persons, train, test)
    if shared:
        warnings.append(
            f"{shared:,} of {persons:,} persons in test, with {images:,} of {len(test):,} test images, are also in "
            "train or val. --split identity avoids it."
        )
    if kind == "identity":
        warnings.append("This split is our own (no person in two parts): it compares with no published row.")
    elif kind == "zs":
        warnings.append(
            "Splits from such a file were never run on a real one: compare the counts with the published ones."
        )
    elif kind == "subset":
        warnings.append(
            "Test images come from camera sites that training never saw: this measures the shift between sites, and "
            "compares with no published row."
        )
    elif kind == "paper":
        warnings.append(
            "--split paper reads the FOCUS paper's sentence (9,500 images: 7,600 for training, 1,900 for test), which "
            "fits no official file, in the only way that the counts allow. It compares with no published row."
        )
    else:
        warnings += _about_official(number)
    if peta.files.layout == "subsets" and peta.mat is not None and kind not in ("identity", "subset"):
        warnings.append(
            "In all subsets but CUHK and MIT labels are per person, so the order of one person's frames is inferred "
            "(sorted file names). Were it another, frames of one person would change splits; labels would stay."
        )
    evaluated = [position for position, attribute in enumerate(schema.attributes) if attribute.evaluated]
    warnings += rare_attributes(schema, peta.labels, splits)
    bare = np.flatnonzero(~peta.labels[:, evaluated].any(axis=1))
    if len(bare):
        warnings.append(
            f"{len(bare)} image{'s' if len(bare) > 1 else ''} with none of the evaluated attributes (first: "
            f"{peta.files.images[bare[0]]}, in {splits[bare[0]]}): Recall counts 0 there."
        )
    return warnings


def _about_official(number: int) -> list[str]:
    train, val, test = (f"{PUBLISHED_PARTS[part]:,}" for part in PARTS)
    both = f"{PUBLISHED_PARTS['train'] + PUBLISHED_PARTS['val']:,}"
    warnings = [
        f"The FOCUS paper says 9,500 images, 7,600 for training and 1,900 for test; PETA.mat has {train} / {val} / "
        f"{test}. A reading of that sentence is --split paper.",
        f"Published rows train on train + val ({both} images): focus train --set data.train_split=trainval.",
        "Published rows that use ALM's lists are on another division than these five.",
    ]
    if number:
        warnings.append(f"Most published rows use partition 0 (POAR's code: 4); this is partition {number}.")
    return [*warnings, "The five partitions overlap: never test on one what was trained on another."]


def _persons(subsets: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.array(
        [f"{SUBSETS[subset - 1]}/{number}" for subset, number in zip(subsets.tolist(), numbers.tolist(), strict=True)]
    )


def _check_alignment(files: PetaFiles, mat: PetaMat) -> None:
    """Refuse a tree of which some file is missing or added: every image after it would have another's labels."""
    found, wanted = (np.bincount(subsets, minlength=len(SUBSETS) + 1) for subsets in (files.subsets, mat.subsets))
    different = [
        f"{SUBSETS[subset - 1]} has {found[subset]:,} images, not {wanted[subset]:,}"
        for subset in range(1, len(SUBSETS) + 1)
        if found[subset] != wanted[subset]
    ]
    if different:
        raise InputError(
            f"The images in {files.root} are not those of {files.mat}: {'; '.join(different)}.", "Unpack PETA again."
        )
    wrong = np.flatnonzero((files.subsets != mat.subsets) | (files.numbers != mat.numbers))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"{len(wrong):,} images in {files.root} are not the ones of {files.mat}; the first is "
            f"{files.images[first]}, where row {first + 1} is person {mat.numbers[first]} of that subset.",
            "Files were renamed, added or lost; unpack PETA again.",
        )


def _compare(files: PetaFiles, texts: LabelTexts, mat: PetaMat) -> str:
    differ = (texts.labels != mat.labels).any(axis=1)
    if differ.mean() > 0.01:
        raise InputError(
            f"Label.txt and {files.mat} disagree on {int(differ.sum()):,} of {len(differ):,} images; the first is "
            f"{files.images[int(np.argmax(differ))]}.",
            "One of them belongs to another version; fetch both again.",
        )
    equal = len(differ) - int((differ | texts.has_left_out).sum())
    note = f"Label.txt equals PETA.mat for {equal:,} of {len(differ):,} images"
    if texts.has_left_out.any():
        note += f"; {int(texts.has_left_out.sum()):,} have attributes that PETA.mat leaves out ({', '.join(LEFT_OUT)})"
    if differ.any():
        note += f"; {int(differ.sum()):,} differ in the 105 (PETA.mat is taken)"
    return note


def _about_label_texts(texts: LabelTexts) -> list[str]:
    notes = []
    if texts.without_image:
        notes.append(f"{texts.without_image} lines of Label.txt are about files or persons without an image")
    if texts.unknown:
        words = ", ".join(f"{word} ({count})" for word, count in texts.unknown.most_common(5))
        notes.append(f"words in Label.txt that are no attribute of PETA, left alone: {words}")
    return notes
