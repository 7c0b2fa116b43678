"""`focus prepare`: from an official download or a table to a dataset folder."""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder, check_target, refuse_overlap, split_counts, write_folder
from focuscli.data.images import check_images
from focuscli.data.readers.annotations import Annotations
from focuscli.data.readers.csv import SCHEMA_COMMENT, read_csv
from focuscli.data.readers.pa100k import read_pa100k
from focuscli.data.readers.peta import read_peta
from focuscli.data.readers.rapv1 import read_rapv1
from focuscli.data.readers.rapv2 import read_rapv2
from focuscli.errors import InputError

Progress = Callable[[int, int], None]
OnBadImage = Literal["error", "skip"]
OnMissing = Literal["error", "allow", "labels-only"]
SKIPPED_FILE = "skipped.csv"
READERS: dict[str, Callable[..., Annotations]] = {
    "peta": read_peta,
    "pa100k": read_pa100k,
    "rapv1": read_rapv1,
    "rapv2": read_rapv2,
}
"""Known downloads -> what reads them: (source, split=..., images=...)."""


@dataclass(frozen=True)
class PrepareReport:
    """What a `focus prepare` command has done.

    Attributes:
        path: the dataset folder that was written.
        name: the dataset's name as in its schema.
        images, attributes, evaluated: how many of each; `evaluated` is a part of `attributes`.
        counts: images per split, e.g. {"train": 9500, "val": 1900, "test": 7600}.
        published: the same counts as published, or None if nothing was published for this split.
        warnings: what readers of metrics measured on this dataset must know.
        notes: what was done and checked, one line each.
        seconds: wall time of the preparation.
    """

    path: Path
    name: str
    images: int
    attributes: int
    evaluated: int
    counts: dict[str, int]
    published: dict[str, int] | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        folder: DatasetFolder,
        started: float,
        *,
        warnings: list[str],
        notes: list[str],
        published: dict[str, int] | None = None,
    ) -> PrepareReport:
        """The report on a folder just written; `started` is the value of `time.monotonic` at the beginning."""
        return cls(
            path=folder.path,
            name=folder.schema.name,
            images=len(folder.images),
            attributes=len(folder.schema.attributes),
            evaluated=len(folder.schema.evaluated),
            counts=folder.counts,
            published=published,
            warnings=warnings,
            notes=notes,
            seconds=time.monotonic() - started,
        )


def prepare_official(
    name: str,
    source: Path,
    out: Path,
    *,
    split: str | None = None,
    images: Path | None = None,
    overwrite: bool = False,
    missing: OnMissing = "error",
    on_bad_image: OnBadImage = "error",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Make a dataset folder of an official download. Images are not copied: schema.toml's image_root points at them.

    Args:
        name: a key of `READERS`. split: see its reader; None: the first official one.
        images: the folder of the images; by default found beside the labels (not for PETA).
        missing: "error" refuses a download with missing images, "allow" keeps those that exist, "labels-only" writes a
            dataset without images, for everything that needs no pixels.
        on_bad_image: "error" refuses a download with an unusable image; "skip" excludes it and lists it in skipped.csv.
        dry_run: do everything but write.
        progress: called with (images checked, images).

    Raises:
        UsageError: no such split.
        InputError: not the expected files, missing or unusable images, or `out` exists.
    """
    started = time.monotonic()
    check_target(out, overwrite=overwrite)
    options = {"images": images} if split is None else {"split": split, "images": images}
    data = READERS[name](Path(source), **options)
    refuse_overlap(out, [data.root])
    info = {
        "dataset": name,
        "source": str(Path(source).expanduser().resolve()),
        **data.info,
        "published": data.published,
        "labels_only": missing == "labels-only",
        "missing": 0,
    }
    if missing == "labels-only":
        data.warnings.append("Labels only: there are no images, so nothing can be trained or scored on this dataset.")
    else:
        there = _existing(data, allow=missing == "allow")
        info["missing"] = len(data.images) - len(there)
        data = _select(data, there)
    comment = f"Made by focus prepare {name}. image_root is the folder of the images; nothing was copied."
    check = None if missing == "labels-only" else on_bad_image
    return _write(data, out, info, started, check, comment, overwrite=overwrite, dry_run=dry_run, progress=progress)


def prepare_csv(
    labels_csv: Path,
    out: Path,
    *,
    images: Path | None = None,
    schema: Path | None = None,
    overwrite: bool = False,
    true: str = "1",
    false: str = "0",
    on_bad_image: OnBadImage = "error",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Make a dataset folder of a user's own table of labels, see `read_csv`. Images are not copied.

    Args:
        on_bad_image, dry_run, progress: see `prepare_official`.

    Raises:
        InputError: the table or an image is unusable, or `out` exists.
    """
    started = time.monotonic()
    check_target(out, overwrite=overwrite)
    name = Path(out).resolve().name
    data = read_csv(Path(labels_csv), name, images=images, schema=schema, true=true, false=false)
    refuse_overlap(out, [Path(labels_csv), data.root, *([Path(schema)] if schema else [])])
    info = {"dataset": data.schema.name, "source": str(Path(labels_csv).resolve())}
    comment = "" if schema else SCHEMA_COMMENT
    return _write(
        data, out, info, started, on_bad_image, comment, overwrite=overwrite, dry_run=dry_run, progress=progress
    )


def _existing(data: Annotations, *, allow: bool) -> NDArray[np.int64]:
    """Positions of the images that exist; refuses gaps unless they are allowed, and then warns of them."""
    there = np.array([(data.root / image).is_file() for image in data.images], dtype=bool)
    gone = int((~there).sum())
    name, count = data.schema.name, len(there)
    if not there.any():
        raise InputError(
            f"None of the {count:,} images of {name} is in {data.root} (first: {data.images[0]}).",
            "Name their folder with --images, or prepare the labels alone: --labels-only",
        )
    if gone and not allow:
        lost = split_counts(data.splits[~there])
        parts = ", ".join(f"{part} {lost.get(part, 0):,} of {of:,}" for part, of in split_counts(data.splits).items())
        raise InputError(
            f"{gone:,} of {count:,} images of {name} are missing in {data.root} ({parts}; first: "
            f"{data.images[int(np.argmin(there))]}).",
            "Unpack the images again, or keep those that exist with --allow-missing.",
        )
    if gone:
        left = ", ".join(f"{part} {number:,}" for part, number in split_counts(data.splits[there]).items())
        data.warnings.append(
            f"{gone:,} of {count:,} images are missing and excluded, which leaves {left}. Published metrics do not compare."
        )
    return np.flatnonzero(there).astype(np.int64)


def _write(
    data: Annotations,
    out: Path,
    info: Mapping[str, Any],
    started: float,
    check: OnBadImage | None,
    comment: str,
    *,
    overwrite: bool,
    dry_run: bool,
    progress: Progress | None,
) -> PrepareReport:
    """Check the images (unless `check` is None), write the folder and report."""
    bad = {} if check is None else _check(data, check, progress)
    extra_files, skipped = {}, []
    if bad:
        first, reason = next(iter(bad.items()))
        skipped.append(
            f"Skipped {len(bad):,} unreadable images (first: {Path(data.images[first]).name}: {reason}). "
            f"Listed in {SKIPPED_FILE}."
        )
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "reason"])
        writer.writerows([data.images[row], reason] for row, reason in bad.items())
        extra_files[SKIPPED_FILE] = text.getvalue()
        data = _select(data, np.setdiff1d(np.arange(len(data.images)), [*bad]))
    folder = write_folder(
        out,
        data.schema.model_copy(update={"image_root": str(data.root)}),
        data.images,
        data.splits,
        data.persons,
        data.labels,
        overwrite=overwrite,
        dry_run=dry_run,
        extra_files=extra_files,
        info={
            **info,
            "split": data.split,
            "warnings": data.warnings,
            "notes": data.notes,
            "counts": split_counts(data.splits),
            "skipped": len(bad),
        },
        schema_comment=comment,
    )
    warnings = [*skipped, *data.warnings]
    return PrepareReport.of(folder, started, warnings=warnings, notes=data.notes, published=data.published)


def _select(data: Annotations, rows: NDArray[np.int64]) -> Annotations:
    """The images at these positions."""
    return dataclasses.replace(
        data,
        images=[data.images[row] for row in rows.tolist()],
        splits=data.splits[rows],
        persons=data.persons[rows],
        labels=data.labels[rows],
    )


def _check(data: Annotations, on_bad_image: OnBadImage, progress: Progress | None) -> dict[int, str]:
    """The images that cannot be used; refuses them unless they are to be skipped and others remain."""
    count = len(data.images)
    bad = check_images([data.root / image for image in data.images], progress=progress)
    if len(bad) == count or (bad and on_bad_image == "error"):
        first = "; ".join(f"{data.images[row]}: {reason}" for row, reason in [*bad.items()][:3])
        more = f"; and {len(bad) - 3:,} more" if len(bad) > 3 else ""
        raise InputError(
            f"{len(bad):,} of {count:,} images in {data.root} cannot be used ({first}{more}).",
            "Replace them, or exclude them with --on-bad-image skip.",
        )
    return bad
