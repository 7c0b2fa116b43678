"""`focus prepare`: from an official download or a table to a dataset folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from focuscli.data.checks import dataset_warnings
from focuscli.data.folder import DatasetFolder, check_target, write_folder
from focuscli.data.images import check_images
from focuscli.data.inputs import unlisted
from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.csv import read_csv
from focuscli.data.readers.market1501 import read_market1501
from focuscli.data.readers.pa100k import read_pa100k
from focuscli.data.readers.peta import read_peta
from focuscli.data.readers.pickles import read_pickle
from focuscli.data.readers.rap import read_rapv1, read_rapv2
from focuscli.data.schema import UNCERTAIN
from focuscli.data.splits import shared_persons
from focuscli.data.table import format_table
from focuscli.errors import InputError, listed, plural
from focuscli.storage.paths import user_path

Progress = Callable[[int, int], None]
RARE = 0.02
SKIPPED_FILE = "skipped.csv"
DRAWN = "drawn-by-focus.txt"
"""The file that marks synthetic images in the file structure of an official download."""
READERS: dict[str, Callable[..., Annotations]] = {
    "peta": read_peta,
    "pa100k": read_pa100k,
    "rapv1": read_rapv1,
    "rapv2": read_rapv2,
    "market1501": read_market1501,
    "pickle": read_pickle,
    "csv": read_csv,
}
"""Kind of source -> its reader: (source, images=..., and options of its own)."""


def prepare(
    kind: str,
    source: Path,
    out: Path,
    *,
    overwrite: bool = False,
    missing: Literal["error", "allow", "labels-only"] = "error",
    on_bad_image: Literal["error", "skip"] = "skip",
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> DatasetFolder:
    """Make a dataset folder of an official download or a table. Images are not copied: its image_root points at them.

    Args:
        kind: a key of `READERS`. options: see its reader.
        missing: "error" refuses an official download with missing images, "allow" keeps those that exist, "labels-only"
            writes a dataset without images, for everything that needs no pixels.
        on_bad_image: "skip" excludes a missing or unusable image and lists it in skipped.csv; "error" refuses it.
        dry_run: do everything but write.
        progress: called with (images checked, images).

    Returns:
        The folder; its `info` says how it was made ("published" counts, "warnings", "notes" and more).

    Raises:
        UsageError: no such split.
        InputError: not the expected files, missing or unusable images, or `out` exists.
    """
    data = READERS[kind](Path(source), **options)
    for path in (Path(source), data.root, options.get("schema")):
        if path and path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{out} holds the source {path}; nothing was changed.", "Choose another folder: --out DIR")
    absent: dict[int, str] = {}
    bad: dict[int, str] = {}
    warnings, files = [], {}
    if missing == "labels-only":
        warnings.append("Labels only: there are no images, so nothing can be trained or scored on this dataset.")
    else:
        if kind != "csv":
            absent = {row: "not there" for row, image in enumerate(data.images) if not (data.root / image).is_file()}
            hint = "Keep the others with --allow-missing, name their folder with --images, or use --labels-only."
            data = _exclude(data, absent, "are missing", hint, warnings, allowed=missing == "allow")
    check_target(out, overwrite=overwrite)  # not before: a wrong source is worth more than a folder that exists
    if missing != "labels-only":
        bad = check_images([data.root / image for image in data.images], progress=progress)
        rows = [(data.images[row], reason) for row, reason in bad.items()]
        hint = "Replace them, or omit --strict to go on without them."
        apart = kind == "csv" and data.root != Path(source).resolve().parent
        if apart and (others := unlisted(data.root, data.images)):
            data.notes.append(f"in {data.root}, but not in the table: {others}")
        data = _exclude(data, bad, "cannot be used", hint, warnings, allowed=on_bad_image == "skip")
    if bad:
        warnings[-1] += f" See {SKIPPED_FILE}."
        files[SKIPPED_FILE] = format_table([("image", "reason"), *rows])
    schema = data.schema.model_copy(update={"image_root": str(data.root)})
    if data.comment:  # a guessed schema
        schema = schema.model_copy(update={"name": out.resolve().name})
    origin = str(user_path(source).resolve())
    info: dict[str, Any] = {"dataset": schema.name, "source": origin, "split": data.split}
    info |= {"published": data.published, "labels_only": missing == "labels-only"}
    info |= {"missing": len(absent), "skipped": len(bad)}
    made = f"Made by focus prepare {kind}. image_root is the folder of the images; nothing was copied."
    places = [place for start in (Path(source), data.root) for place in (start, *start.resolve().parents[:3])]
    if any((place / DRAWN).is_file() for place in places):
        info["synthetic_layout"] = kind
    folder = DatasetFolder(out, schema, tuple(data.images), data.splits, data.persons, data.labels, info)
    noticed = [*data.warnings, *_general_warnings(data, missing == "labels-only"), *dataset_warnings(folder)]
    info |= {"warnings": [*noticed, *warnings], "notes": data.notes}
    comment = data.comment or made
    return write_folder(folder, overwrite=overwrite, dry_run=dry_run, extra_files=files, schema_comment=comment)


def _exclude(
    data: Annotations, bad: Mapping[int, str], what: str, hint: str, warnings: list[str], *, allowed: bool
) -> Annotations:
    """The data without the images at some positions, with a warning; refused unless it is allowed and others remain."""
    if not bad:
        return data
    shown = "; ".join(f"{data.images[row]}: {reason}" for row, reason in [*bad.items()][:3])
    problem = f"{len(bad):,} of {len(data.images):,} images of {data.schema.name} {what} in {data.root} ({shown})"
    if not allowed or len(bad) == len(data.images):
        raise InputError(f"{problem}.", hint)
    warnings.append(f"{problem}; they are excluded.")
    kept = np.setdiff1d(np.arange(len(data.images)), [*bad])
    return dataclasses.replace(
        data,
        images=[data.images[row] for row in kept.tolist()],
        splits=data.splits[kept],
        persons=data.persons[kept],
        labels=data.labels[kept],
    )


def _general_warnings(data: Annotations, labels_only: bool) -> list[str]:
    """Warnings about the images that remain, for any dataset."""
    warnings = []
    if any((data.splits == split).sum() != count for split, count in (data.published or {}).items()):
        warnings.append("The splits have other sizes than the published ones: published metrics do not compare.")
    test = np.flatnonzero(data.splits == "test")
    shared, persons, images = shared_persons(data.persons, np.flatnonzero(np.isin(data.splits, ("train", "val"))), test)
    if shared:
        warnings.append(
            f"{shared:,} of {persons:,} known persons in test, with {images:,} of {len(test):,} test images, are also in "
            "train or val."
        )
    if not (data.persons != "").any():
        warnings.append("No persons are known: the same one may be in train and test, which makes metrics look better.")
    uncertain = data.labels == UNCERTAIN
    if uncertain.any():
        names = [data.schema.attributes[column].name for column in np.flatnonzero(uncertain.any(axis=0))]
        warnings.append(
            f"Uncertain (value 2): {plural(int(uncertain.sum()), 'label')} of {listed(names)}, {int(uncertain[test].sum()):,} in "
            "test. They are masked; --set data.uncertain=negative counts them as 0."
        )
    train = data.labels[data.splits == "train"]
    shares = (train == 1).sum(axis=0) / max(1, len(train))
    rare = [
        f"{attribute.name} {100 * share:.1f}%"
        for attribute, share in zip(data.schema.attributes, shares, strict=True)
        if attribute.evaluated and 0 < share < RARE
    ]
    if rare and not labels_only:  # without images nothing is trained
        warnings.append(
            f"Rare in train (under {RARE:.0%}), so that metrics vary a lot between runs: {', '.join(rare)}."
        )
    return warnings
