"""A dataset is a folder with schema.toml, labels.csv and prepare.json; its images are there or in `image_root`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from focuscli.data.image_names import check_image_names
from focuscli.data.labels_csv import SPLITS, format_labels, read_labels
from focuscli.data.schema import AttributeSchema, dump_schema, load_schema
from focuscli.errors import InputError, plural
from focuscli.storage.documents import checked, read_json
from focuscli.storage.files import atomic_folder, check_free, write_errors, write_json, write_text
from focuscli.storage.paths import user_path

SCHEMA_FILE, LABELS_FILE, INFO_FILE = "schema.toml", "labels.csv", "prepare.json"


class _Info(BaseModel, frozen=True):
    """The keys of prepare.json that commands use."""

    dataset: str = ""
    split: str | None = None
    labels_only: bool = False
    published: dict[str, int] | None = None
    counts: dict[str, int] | None = None


@dataclass(frozen=True, eq=False)
class DatasetFolder:
    """A dataset in memory, without its pixels.

    Attributes:
        path: the folder.
        images: N paths relative to the image root.
        splits: [N] of "train", "val", "test" or "unused". persons: [N], "" = unknown.
        labels: [N, A] int8 of all attributes in schema order; 0, 1 or 2 (uncertain).
        info: what prepare.json says; empty for a folder made by hand.
    """

    path: Path
    schema: AttributeSchema
    images: tuple[str, ...]
    splits: NDArray[np.str_]
    persons: NDArray[np.str_]
    labels: NDArray[np.int8]
    info: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the schema's meaning and every line of labels.csv; pixels do not count."""
        digest = hashlib.sha256(self.schema.fingerprint().encode())
        for part in (self.images, self.splits.tolist(), self.persons.tolist()):
            digest.update(json.dumps(part).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """The name in outputs, see `dataset_name`."""
        return dataset_name(self.path, self.info)

    @property
    def root(self) -> Path:
        """The folder that image paths are relative to."""
        return image_root(self.path, self.schema)

    @property
    def labels_only(self) -> bool:
        """Whether it was prepared without images."""
        return bool(self.info.get("labels_only"))

    def require_images(self) -> None:
        """Refuse what needs pixels on a dataset of labels alone.

        Raises:
            InputError: it was prepared with --labels-only.
        """
        if self.labels_only:
            raise InputError(
                f"{self.path} was prepared with --labels-only: it has no images.",
                f"Prepare it with images: focus prepare {self.schema.name} FOLDER --force",
            )

    def check_files(self) -> None:
        """Check that every image exists and that no two names are one file; nothing is decoded.

        Raises:
            InputError: names the first such image; the dataset may have been prepared without images.
        """
        self.require_images()
        missing = [image for image in self.images if not (self.root / image).is_file()]
        file = self.path / LABELS_FILE
        if missing:
            raise InputError(
                f"{len(missing):,} of {len(self.images):,} images of {file} are not in {self.root}, such as {missing[0]}.",
                f"Set image_root in {self.path / SCHEMA_FILE} to the folder that the column image starts from.",
            )
        check_image_names(self.images, [f"{file}, image {row}" for row in range(1, len(self.images) + 1)], self.root)

    def image_path(self, index: int) -> Path:
        return self.root / self.images[index]

    def select(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images, ascending.

        Args:
            split: "train", "val", "test", "unused", "trainval" (both) or "all" (every image, unused ones too).

        Raises:
            InputError: no image is in it; the message names the splits there are.
        """
        if split == "all":
            return np.arange(len(self.images), dtype=np.int64)
        chosen = ("train", "val") if split == "trainval" else (split,)
        found = np.flatnonzero(np.isin(self.splits, chosen)).astype(np.int64)
        if not len(found):
            there = ", ".join(f"{name} ({plural(count, 'image')})" for name, count in self.counts.items())
            raise InputError(f'{self.path} has no split "{split}".', f"It has: {there}.")
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Images per split, in the order train, val, test, unused, for splits that have any."""
        counted = Counter(self.splits.tolist())
        return {name: counted[name] for name in SPLITS if counted[name]}


def image_root(path: Path, schema: AttributeSchema) -> Path:
    """The folder that the image paths of a dataset in `path` are relative to."""
    return path / user_path(schema.image_root or "")


def dataset_name(path: Path, info: Mapping[str, Any]) -> str:
    """The name of a dataset in outputs: its folder's own, or for synthetic images in an official layout, that."""
    layout = info.get("synthetic_layout")
    return f"synthetic ({layout} layout)" if layout else path.resolve().name


def read_folder(path: Path) -> DatasetFolder:
    """Read a dataset folder. Images are not checked; a missing one is reported when it is loaded.

    Raises:
        InputError: a file is missing, unreadable or contradicts another; the message names file, line and column.
    """
    path = Path(path)
    written = _written(path)
    try:
        schema, info = load_schema(path / SCHEMA_FILE), read_info(path)
        folder = DatasetFolder(path, schema, *read_labels(path / LABELS_FILE, schema), info)
    except InputError:
        if _written(path) == written:
            raise
    else:
        if _written(path) == written:
            return folder
    return read_folder(path)  # it was replaced while it was read


def _written(path: Path) -> tuple[int, int] | None:
    """Tells one preparation of a folder from the next; None for a folder made by hand."""
    with contextlib.suppress(OSError):
        status = (path / INFO_FILE).stat()
        return status.st_ino, status.st_mtime_ns
    return None


def read_info(path: Path) -> dict[str, Any]:
    """The content of a dataset folder's prepare.json; empty where there is none.

    Raises:
        InputError: it is damaged.
    """
    file = path / INFO_FILE
    hint = "It can be deleted: it only records how the folder was made."
    info = read_json(file, hint) if file.is_file() else {}
    checked(_Info, info, file, hint)
    return dict(info)


def summarise(path: Path) -> dict[str, Any]:
    """What a dataset folder holds, for `focus datasets` and `focus doctor`. Its labels are read only where prepare.json does
    not count them: where there is none, or another file was changed since.

    Raises:
        InputError: see `read_folder`.
    """
    schema, info = load_schema(path / SCHEMA_FILE), read_info(path)
    try:
        times = [(path / name).stat().st_mtime_ns for name in (SCHEMA_FILE, LABELS_FILE, INFO_FILE)]
        counts = info.get("counts") if max(times[:2]) < times[2] else None
    except OSError:
        counts = None
    counts = counts or read_folder(path).counts
    return {
        "called": dataset_name(path, info),
        "images": sum(counts.values()),
        "splits": counts,
        "attributes": len(schema.attributes),
        "evaluated": len(schema.evaluated),
        "labels_only": bool(info.get("labels_only")),
        "image_root": str(image_root(path, schema)),
    }


def write_folder(
    folder: DatasetFolder,
    *,
    overwrite: bool,
    dry_run: bool = False,
    extra_files: Mapping[str, bytes | str] | None = None,
    schema_comment: str = "",
) -> DatasetFolder:
    """Write a dataset folder, all of it or nothing.

    Args:
        overwrite: replace a folder that was written by this function before; never another one.
        dry_run: check everything, write nothing.
        extra_files: relative path -> content, e.g. {"images/0001.png": ...}.
        schema_comment: for the head of schema.toml.

    Returns:
        The folder, with counts and fingerprint added to its info.

    Raises:
        InputError: the folder exists and may not be replaced, or an image's name is empty, repeats or leads out of the root.
        RequirementError: it cannot be written.
    """
    check_target(folder.path, overwrite=overwrite)
    places = [f"dataset {folder.schema.name}, image {number}" for number in range(1, len(folder.images) + 1)]
    check_image_names(folder.images, places, None if folder.labels_only else folder.root)
    folder = replace(folder, info={**folder.info, "counts": folder.counts, "fingerprint": folder.fingerprint})
    if dry_run:
        return folder
    with atomic_folder(folder.path, overwrite=overwrite) as temporary:
        for name, data in (extra_files or {}).items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data.encode() if isinstance(data, str) else data)
        write_text(temporary / SCHEMA_FILE, dump_schema(folder.schema, schema_comment))
        content = (folder.images, folder.splits, folder.persons, folder.labels)
        write_text(temporary / LABELS_FILE, format_labels(folder.schema, content))
        write_json(temporary / INFO_FILE, folder.info)
    return folder


def check_target(target: Path, *, overwrite: bool, marker: str = INFO_FILE) -> None:
    """Check that a dataset may be written to `target`, before any work for it is done.

    Only what this program wrote, with a file `marker`, is ever replaced, so that --force never deletes somebody's images.

    Raises:
        InputError: `target` is a file, has content but no such file, or exists and `overwrite` is false.
    """
    with write_errors(target):
        foreign = target.exists() and not (target / marker).is_file()
        foreign = foreign and (not target.is_dir() or any(target.iterdir()))
    if foreign:
        problem = f"{target} exists and was not written by focus prepare (it has no {marker}); nothing was changed."
        raise InputError(problem, "Choose another folder with --out.")
    check_free(target, force=overwrite, folder=True)
