"""PETA put together: images and labels in the order of PETA.mat, the splits, and what readers of metrics must know."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.labels_csv import SPLITS
from focuscli.data.readers import mat
from focuscli.data.readers.annotations import (
    PARTITIONS_OVERLAP,
    Annotations,
    official_partition,
    rare_attributes,
    slashed,
)
from focuscli.data.readers.peta_files import EXCLUDED, SUBSETS, PetaFiles, find_peta, read_label_texts
from focuscli.data.readers.pickles import ZS_PREFIX, read_zero_shot_splits, zero_shot_file
from focuscli.data.schema import AttributeSchema, builtin_schema
from focuscli.data.splits import identity_split, shared_persons
from focuscli.errors import InputError, UsageError, did_you_mean

IMAGES = 19_000
PUBLISHED = {"train": 9_500, "val": 1_900, "test": 7_600}
PUBLISHED_ZS = {"train": 11_241, "val": 3_826, "test": 3_933}
IDENTITY_FRACTIONS = {"train": 0.5, "val": 0.1, "test": 0.4}  # the shares of the official partitions
IDENTITY_SEED = 0
SUBSET_FRACTIONS = {"train": 0.9, "val": 0.1}
# --split paper: the part of partition 0 -> what the paper's sentence seems to use it for.
PAPER = {"train": "unused", "val": "test", "test": "train"}
_KNOWN_SPLITS = "official:0 to official:4, identity, paper, subset:VIPeR,GRID, zs:FILE"
_LABEL_COLUMN = 4  # before it: image number, global person, subset, person within the subset


@dataclass(frozen=True, eq=False)
class Peta:
    """PETA's images with their labels, N of them.

    Attributes:
        labels: [N, A] int8 in schema order.
        subsets: [N] 1 to 10. numbers: [N] the person's number within its subset.
        partitions: the split of each image [N] in each partition of PETA.mat; empty without it.
        notes: what was found and checked.
    """

    files: PetaFiles
    labels: NDArray[np.int8]
    subsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    partitions: list[NDArray[np.str_]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def persons(self) -> NDArray[np.str_]:
        """[N] "<subset>/<number>", the same with and without PETA.mat."""
        pairs = zip(self.subsets.tolist(), self.numbers.tolist(), strict=True)
        return np.array([f"{SUBSETS[subset - 1]}/{number}" for subset, number in pairs])


def read_peta(source: Path, *, split: str = "official:0", images: Path | None = None) -> Annotations:
    """Read PETA as downloaded: ten subsets with Label.txt files, or numbered images; PETA.mat beside them.

    Args:
        source: the folder with the ten subsets (or the one around it), or with images/00001.png and PETA.mat.
        split: "official:K": partition K of PETA.mat. "identity": 50, 10 and 40 % without a person in two of them.
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
    kind, number = _check_split(split)
    schema = builtin_schema("peta")
    peta = _load(source, schema)
    splits, published = _splits(peta, split, kind, number)
    return Annotations(
        schema,
        peta.files.root,
        peta.files.images,
        splits,
        peta.persons,
        peta.labels,
        split,
        published,
        _warnings(peta, splits, kind, number, schema),
        peta.notes,
        {"layout": peta.files.layout, "labels_from": "PETA.mat" if peta.files.mat else "Label.txt"},
    )


def _load(source: Path, schema: AttributeSchema) -> Peta:
    """Find PETA and read its labels; with both PETA.mat and Label.txt there, check one against the other."""
    files = find_peta(source)
    peta = _read_mat(files, files.mat, schema) if files.mat else None
    ignored = [f"ignored {files.ignored} files in the image folders that are not images"] if files.ignored else []
    if peta is not None and files.layout == "numbered":
        if len(peta.labels) != len(files.images):
            raise InputError(
                f"{files.root} has {len(files.images):,} images, but {files.mat} describes {len(peta.labels):,}.",
                "Copy the images again.",
            )
        peta.notes.extend(ignored)
        return peta
    if peta is not None:
        _check_alignment(peta)
    labels, has_excluded, notes = read_label_texts(files, schema)
    if peta is None:
        return Peta(files, labels, files.subsets, files.numbers, notes=[*ignored, *notes])
    matches = "the person number in each file name matches PETA.mat, for every image"
    peta.notes.extend([*ignored, matches, *notes, _compare(peta, labels, has_excluded)])
    return peta


def _read_mat(files: PetaFiles, path: Path, schema: AttributeSchema) -> Peta:
    """Read PETA.mat, a MATLAB 5 file with the struct `peta`: data, attribute and partion_attribute.

    Raises:
        InputError: it cannot be read or contradicts the schema or the format.
    """
    fields = ("data", "attribute", "partion_attribute")
    with mat.open_mat(path, "Fetch the file again; the real one has 343,449 bytes.") as variables:
        struct = mat.struct_fields(variables, "peta", fields)
        data = np.asarray(struct["data"]).astype(np.int64)  # uint16 in the file
        names = mat.strings(struct["attribute"])
        labels = mat.attribute_labels(data[:, _LABEL_COLUMN:], names, schema, (0, 1))
        if not np.array_equal(data[:, 0], np.arange(1, len(data) + 1)):
            raise ValueError(f"its first column does not count from 1 to {len(data)}")
        if not np.isin(data[:, 2], np.arange(1, len(SUBSETS) + 1)).all():
            raise ValueError("it has subset numbers other than 1 to 10")
        partitions = mat.partition_splits(struct["partion_attribute"], {part: part for part in PUBLISHED}, len(data))
    return Peta(files, labels, data[:, 2], data[:, 3], partitions)


def _splits(peta: Peta, split: str, kind: str, number: int) -> tuple[NDArray[np.str_], dict[str, int] | None]:
    """The split of each image, see `read_peta`, and the published counts if there are any."""
    if kind == "identity":
        return identity_split(peta.persons, IDENTITY_FRACTIONS, IDENTITY_SEED), None
    if kind == "subset":
        tested = np.isin(peta.subsets, _tested_subsets(split))
        splits = np.full(len(peta.persons), "test", dtype="U6")
        splits[~tested] = identity_split(peta.persons[~tested], SUBSET_FRACTIONS, IDENTITY_SEED)
        return splits, None
    if kind == "zs":
        numbered = [f"{row:05}.png" for row in range(1, len(peta.persons) + 1)]
        return read_zero_shot_splits(zero_shot_file(split), numbered), PUBLISHED_ZS
    if peta.files.mat is None:
        raise InputError(
            f"Split {split} is written in PETA.mat, and there is none in {peta.files.root} or beside it.",
            "Put PETA.mat there (it comes with most repositories on the subject), or use --split identity.",
        )
    splits = mat.pick_partition(peta.partitions, number, peta.files.mat)
    if kind == "official":
        return splits, PUBLISHED
    published = {PAPER[part]: count for part, count in PUBLISHED.items()}
    renamed = np.array([PAPER[name] for name in splits.tolist()], dtype=np.str_)
    return renamed, {name: published[name] for name in SPLITS if name in published}


def _warnings(peta: Peta, splits: NDArray[np.str_], kind: str, number: int, schema: AttributeSchema) -> list[str]:
    """What readers of metrics measured on this split must know, one or two sentences each."""
    train, test = np.flatnonzero(np.isin(splits, ("train", "val"))), np.flatnonzero(splits == "test")
    warnings = []
    if len(splits) != IMAGES:
        warnings.append(f"PETA has {IMAGES:,} images; here are {len(splits):,}. Published metrics do not compare.")
    shared, persons, images = shared_persons(peta.persons, train, test)
    if shared:
        warnings.append(
            f"{shared:,} of {persons:,} persons in test, with {images:,} of {len(test):,} test images, are also in "
            "train or val. --split identity avoids it."
        )
    if kind == "official":
        both = PUBLISHED["train"] + PUBLISHED["val"]
        warnings += [
            f"The FOCUS paper says 9,500 images, 7,600 for training and 1,900 for test; PETA.mat has {slashed(PUBLISHED)}. "
            "A reading of that sentence is --split paper.",
            f"Published rows train on train + val ({both:,} images): focus train --set data.train_split=trainval.",
            "Published rows that use ALM's lists are on another division than these five.",
        ]
        if number:
            warnings.append(f"Most published rows use partition 0 (POAR's code: 4); this is partition {number}.")
        warnings.append(PARTITIONS_OVERLAP)
    else:
        warnings.append(_ABOUT_SPLIT[kind])
    if peta.files.layout == "subsets" and peta.files.mat is not None and kind not in ("identity", "subset"):
        warnings.append(
            "In all subsets but CUHK and MIT labels are per person, so the order of one person's frames is inferred "
            "(sorted file names). With another order, frames of one person would change splits; labels would not change."
        )
    warnings += rare_attributes(schema, peta.labels, splits)
    evaluated = [attribute.evaluated for attribute in schema.attributes]
    bare = np.flatnonzero(~peta.labels[:, evaluated].any(axis=1))
    if len(bare):
        warnings.append(
            f"{len(bare)} image{'s' if len(bare) > 1 else ''} with none of the evaluated attributes (first: "
            f"{peta.files.images[bare[0]]}, in {splits[bare[0]]}): Recall counts 0 there."
        )
    return warnings


_ABOUT_SPLIT = {
    "identity": "This split is our own (no person in two parts): it compares with no published row.",
    "zs": "Zero-shot splits from such files were never checked on a real one: compare the counts with the published ones.",
    "subset": "Test images come from camera sites that training never saw: this measures the shift between sites, and "
    "compares with no published row.",
    "paper": "--split paper reads the FOCUS paper's sentence (9,500 images: 7,600 for training, 1,900 for test), which fits "
    "no official file, in the only way that the counts allow. It compares with no published row.",
}


def _check_split(split: str) -> tuple[str, int]:
    """The kind of split ("official", "paper", "identity", "subset" or "zs") and the partition's number (0 for the others).

    Raises:
        UsageError: none of them.
    """
    if split in ("identity", "paper"):
        return split, 0
    if split.startswith("subset:"):
        _tested_subsets(split)
        return "subset", 0
    if split.startswith(ZS_PREFIX):
        zero_shot_file(split)
        return "zs", 0
    return "official", official_partition(split, _KNOWN_SPLITS)


def _tested_subsets(split: str) -> list[int]:
    """The numbers (from 1) of the subsets that "subset:VIPeR,GRID" keeps for testing.

    Raises:
        UsageError: an unknown one, none, or all of them.
    """
    known = {name.lower(): number for number, name in enumerate(SUBSETS, start=1)}
    names = [name.strip() for name in split.removeprefix("subset:").split(",") if name.strip()]
    for name in names:
        if name.lower() not in known:
            raise UsageError(f'PETA has no subset "{name}".', did_you_mean(name, SUBSETS))
    numbers = sorted({known[name.lower()] for name in names})
    if not numbers or len(numbers) == len(SUBSETS):
        purpose = "train on" if numbers else "test on"
        hint = "Name the subsets to test on: --split subset:VIPeR,GRID"
        raise UsageError(f'Split "{split}" leaves no images to {purpose}.', hint)
    return numbers


def _check_alignment(peta: Peta) -> None:
    """Refuse a tree with a missing or additional file: every image after it would have another's labels."""
    files = peta.files
    found, wanted = (np.bincount(subsets, minlength=len(SUBSETS) + 1) for subsets in (files.subsets, peta.subsets))
    different = [
        f"{name} has {found[subset]:,} images, not {wanted[subset]:,}"
        for subset, name in enumerate(SUBSETS, start=1)
        if found[subset] != wanted[subset]
    ]
    if different:
        raise InputError(
            f"The images in {files.root} are not those of {files.mat}: {'; '.join(different)}.", "Unpack PETA again."
        )
    wrong = np.flatnonzero((files.subsets != peta.subsets) | (files.numbers != peta.numbers))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"{len(wrong):,} images in {files.root} are not the ones of {files.mat}; the first is "
            f"{files.images[first]}, where row {first + 1} is person {peta.numbers[first]} of that subset.",
            "Files were renamed, added or lost; unpack PETA again.",
        )


def _compare(peta: Peta, labels: NDArray[np.int8], has_excluded: NDArray[np.bool_]) -> str:
    """A note on how far Label.txt and PETA.mat agree; refuses two that do not belong together."""
    differ = (labels != peta.labels).any(axis=1)
    if differ.mean() > 0.01:
        raise InputError(
            f"Label.txt and {peta.files.mat} disagree on {int(differ.sum()):,} of {len(differ):,} images; the first is "
            f"{peta.files.images[int(np.argmax(differ))]}.",
            "One of them belongs to another version; fetch both again.",
        )
    equal, excluded = int((~differ & ~has_excluded).sum()), int(has_excluded.sum())
    note = f"Label.txt equals PETA.mat for {equal:,} of {len(differ):,} images"
    if excluded:
        note += f"; {excluded:,} have attributes that PETA.mat does not ({', '.join(EXCLUDED)})"
    if differ.any():
        note += f"; {int(differ.sum()):,} differ in the 105 (PETA.mat is used)"
    return note
