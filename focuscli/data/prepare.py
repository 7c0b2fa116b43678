"""`focus prepare`: from an official download or a table to a dataset folder."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder, refuse_foreign, refuse_overlap, split_counts, write_folder
from focuscli.data.images import BadImage, check_images
from focuscli.data.readers.csv_source import SCHEMA_COMMENT, read_csv_source
from focuscli.data.readers.official import Official
from focuscli.data.readers.pa100k import read_pa100k
from focuscli.data.readers.peta import parse_split, peta_splits, peta_warnings, read_peta
from focuscli.data.readers.rapv1 import read_rapv1
from focuscli.data.readers.rapv2 import read_rapv2
from focuscli.data.report import PrepareReport
from focuscli.data.schema import builtin_schema
from focuscli.errors import InputError, UsageError

Progress = Callable[[int, int], None]
OnBadImage = Literal["error", "skip"]
OnMissing = Literal["error", "allow", "labels-only"]
SKIPPED_FILE = "skipped.csv"


def _read_peta(source: Path, split: str, images: Path | None) -> Official:
    if images is not None:
        raise UsageError("PETA's images are found by their place in the download.", "Leave --images out.")
    parse_split(split)
    schema = builtin_schema("peta")
    peta = read_peta(source, schema)
    splits, published = peta_splits(peta, split)
    return Official(
        schema,
        peta.files.root,
        peta.files.images,
        splits,
        peta.persons,
        peta.labels,
        split,
        published,
        peta_warnings(peta, splits, split, schema),
        peta.notes,
        {"layout": peta.files.layout, "labels_from": "PETA.mat" if peta.mat is not None else "Label.txt"},
    )


READERS: dict[str, tuple[str, Callable[[Path, str, Path | None], Official]]] = {
    "peta": ("official:0", _read_peta),
    "pa100k": ("official", lambda source, split, images: read_pa100k(source, split=split, images=images)),
    "rapv1": ("official:0", lambda source, split, images: read_rapv1(source, split=split, images=images)),
    "rapv2": ("official:0", lambda source, split, images: read_rapv2(source, split=split, images=images)),
}
"""Known downloads: the default split, and what reads them."""


def prepare_peta(source: Path, out: Path, *, split: str = "official:0", **options: Any) -> PrepareReport:
    """Make a dataset folder of PETA, see `prepare_official`.

    Args:
        source: the folder with the ten subsets (or the one around it), or with images/00001.png and PETA.mat.
        split: "official:0" to "official:4", "identity", "paper", "subset:VIPeR,GRID" or "zs:FILE", see `peta_splits`.
    """
    return prepare_official("peta", source, out, split=split, **options)


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
    progress: Progress | None = None,
) -> PrepareReport:
    """Make a dataset folder of an official download. Images are not copied: schema.toml's image_root points at them.

    Args:
        name: a key of `READERS`. split: as its reader says; None: its default.
        images: the folder of the images; by default found beside the labels (not for PETA).
        missing: "error" refuses a download of which images are missing, "allow" keeps what is there, "labels-only"
            writes a dataset without images, which everything but what needs pixels accepts.
        on_bad_image: "error" refuses a download with an unusable image; "skip" leaves it out and lists it in skipped.csv.
        progress: called with (images checked, images).

    Raises:
        UsageError: no such split.
        InputError: not the expected files, missing or unusable images, or `out` exists.
    """
    started = time.monotonic()
    out = Path(out)
    _refuse_existing(out, overwrite)
    default, read = READERS[name]
    official = read(Path(source), split or default, images)
    refuse_overlap(out, [official.root])
    warnings, notes = [*official.warnings], [*official.notes]
    here = np.arange(len(official.images), dtype=np.int64)
    bad: list[BadImage] = []
    if missing == "labels-only":
        warnings.append("Labels only: there are no images, so nothing can be trained or scored on this dataset.")
    else:
        here = _present(official, allow=missing == "allow", warnings=warnings)
        bad = _check(official.root, [official.images[int(position)] for position in here], on_bad_image, progress)
    keep = here[_kept(len(here), bad)]
    splits = official.splits[keep]
    folder = write_folder(
        out,
        official.schema.model_copy(update={"image_root": str(official.root)}),
        [official.images[int(position)] for position in keep],
        splits,
        official.persons[keep],
        official.labels[keep],
        overwrite=overwrite,
        extra_files=_skipped_list([official.images[int(position)] for position in here], bad),
        info={
            "dataset": name,
            "source": str(Path(source).expanduser().resolve()),
            **official.info,
            "split": official.split,
            "published": official.published,
            "warnings": warnings,
            "notes": notes,
            "labels_only": missing == "labels-only",
            "missing": len(official.images) - len(here),
            "counts": split_counts(splits),
            "skipped": len(bad),
        },
        schema_comment=f"Made by focus prepare {name}. image_root is where the images lie; nothing was copied.",
    )
    return _report(folder, official.published, warnings, notes, bad, started)


def _present(official: Official, *, allow: bool, warnings: list[str]) -> NDArray[np.int64]:
    """Positions of the images that are there; refuses gaps unless they are allowed, and then warns of them."""
    there = np.array([(official.root / image).is_file() for image in official.images], dtype=bool)
    gone = int((~there).sum())
    name, count = official.schema.name, len(there)
    if not there.any():
        raise InputError(
            f"None of the {count:,} images of {name} is in {official.root} (first: {official.images[0]}).",
            "Name their folder with --images, or prepare the labels alone: --labels-only",
        )
    if gone and not allow:
        first = official.images[int(np.flatnonzero(~there)[0])]
        parts = ", ".join(
            f"{part} {int((~there & (official.splits == part)).sum()):,} of {int((official.splits == part).sum()):,}"
            for part in split_counts(official.splits)
        )
        raise InputError(
            f"{gone:,} of {count:,} images of {name} are missing in {official.root} ({parts}; first: {first}).",
            "Unpack the images again, or keep what is there with --allow-missing.",
        )
    if gone:
        left = split_counts(official.splits[there])
        warnings.append(
            f"{gone:,} of {count:,} images are missing and left out; here are "
            f"{', '.join(f'{part} {number:,}' for part, number in left.items())}. Published figures do not compare."
        )
    return np.flatnonzero(there).astype(np.int64)


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
    progress: Progress | None = None,
) -> PrepareReport:
    """Make a dataset folder of a user's own table of labels. Images are not copied.

    Args:
        labels_csv: one line per image: the column `image`, optionally `split` and `person`, and a column per attribute.
        images: the folder that the column `image` is relative to; by default `images` beside the table, or its folder.
        schema: a schema.toml; by default one is guessed from the columns' names, with a comment that says so.
        true, false: what stands for 1 and 0 in the table.
        on_bad_image, progress: see `prepare_peta`.

    Raises:
        InputError: the table or an image is unusable, or `out` exists.
    """
    started = time.monotonic()
    out = Path(out)
    _refuse_existing(out, overwrite)
    content = read_csv_source(
        Path(labels_csv), out.resolve().name, images=images, schema=schema, true=true, false=false
    )
    refuse_overlap(out, [Path(labels_csv), content.root, *([Path(schema)] if schema else [])])
    bad = _check(content.root, content.labels.images, on_bad_image, progress)
    keep = _kept(len(content.labels.images), bad)
    splits = content.labels.splits[keep]
    folder = write_folder(
        out,
        content.schema,
        [content.labels.images[position] for position in keep],
        splits,
        content.labels.persons[keep],
        content.labels.cells[keep],
        overwrite=overwrite,
        extra_files=_skipped_list(content.labels.images, bad),
        info={
            "dataset": content.schema.name,
            "source": str(Path(labels_csv).resolve()),
            "split": content.split,
            "counts": split_counts(splits),
            "warnings": content.warnings,
            "notes": content.notes,
            "skipped": len(bad),
        },
        schema_comment="" if schema else SCHEMA_COMMENT,
    )
    return _report(folder, None, content.warnings, content.notes, bad, started)


def _refuse_existing(out: Path, overwrite: bool) -> None:
    """The same refusals as when writing, but before minutes of work."""
    refuse_foreign(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; nothing was changed.", "Add --force to replace it.")


def _check(root: Path, images: Sequence[str], on_bad_image: OnBadImage, progress: Progress | None) -> list[BadImage]:
    bad = check_images([root / image for image in images], progress=progress)
    if len(bad) == len(images) or (bad and on_bad_image == "error"):
        first = "; ".join(f"{images[entry.index]}: {entry.reason}" for entry in bad[:3])
        more = f"; and {len(bad) - 3:,} more" if len(bad) > 3 else ""
        raise InputError(
            f"{len(bad):,} of {len(images):,} images in {root} cannot be used ({first}{more}).",
            "Replace them, or leave them out with --on-bad-image skip.",
        )
    return bad


def _kept(count: int, bad: Sequence[BadImage]) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(count, dtype=np.int64), [entry.index for entry in bad])


def _skipped_list(images: Sequence[str], bad: Sequence[BadImage]) -> dict[str, bytes | str]:
    if not bad:
        return {}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "reason"])
    writer.writerows([images[entry.index], entry.reason] for entry in bad)
    return {SKIPPED_FILE: text.getvalue()}


def _report(
    folder: DatasetFolder,
    published: dict[str, int] | None,
    warnings: list[str],
    notes: list[str],
    bad: Sequence[BadImage],
    started: float,
) -> PrepareReport:
    skipped = []
    if bad:
        first = f"{bad[0].path.name}: {bad[0].reason}"
        skipped = [f"Skipped {len(bad):,} unreadable images (first: {first}). Listed in {SKIPPED_FILE}."]
    return PrepareReport(
        path=folder.path,
        name=folder.schema.name,
        images=len(folder.images),
        attributes=len(folder.schema.attributes),
        evaluated=len(folder.schema.evaluated),
        counts=folder.counts,
        published=published,
        warnings=[*skipped, *warnings],
        notes=list(notes),
        seconds=time.monotonic() - started,
    )
