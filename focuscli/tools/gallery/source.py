"""Which crops a gallery is to hold: those of a folder, of a dataset, or of a list. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from focuscli.data.inputs import expand_images
from focuscli.errors import InputError, UsageError
from focuscli.storage import paths
from focuscli.tools.gallery.shards import Crop


@dataclass(frozen=True)
class Source:
    """What is to be indexed.

    Attributes:
        kind: "folder", "dataset" or "list" (a glob, a file, or paths on stdin).
        root: what the crops' paths are relative to; None where they are absolute.
        name: of the folder or dataset. split: of the dataset, else "".
        crops: in the order in which they are indexed.
    """

    kind: str
    root: Path | None
    name: str
    split: str
    crops: tuple[Crop, ...]

    def record(self) -> dict[str, str]:
        """What the manifest says of it."""
        return {"kind": self.kind, "root": str(self.root or ""), "name": self.name, "split": self.split}

    def path(self, crop: Crop) -> Path:
        return (self.root or Path()) / crop.path


def find_source(given: str, *, split: str | None = None, stdin: Iterable[str] = ()) -> Source:
    """The crops that an argument means: a dataset's images (a folder with schema.toml, or the name of a prepared one), a
    folder's, a glob's, or with `-` those named on stdin.

    Raises:
        InputError: nothing is there. UsageError: a split of something that has none.
    """
    folder = Path(given).expanduser()
    if (folder / "schema.toml").is_file() or (given != "-" and _is_name(given) and not folder.exists()):
        return _dataset(paths.resolve_dataset(given), split or "all")
    if split is not None:
        raise UsageError(f"{given} is no dataset, so it has no splits.", "Leave --split out.")
    if folder.is_dir():
        root = folder.resolve()
        found = [path.relative_to(root).as_posix() for path in expand_images([str(root)])]
        return Source("folder", root, root.name, "", tuple(_crop(root, name) for name in found))
    files = dict.fromkeys(os.path.abspath(path) for path in expand_images([given], stdin))  # without ".."; links stay
    return Source("list", None, given, "", tuple(_crop(Path(), name) for name in files))


def _is_name(given: str) -> bool:
    """Whether it can only be a dataset's name: no separator, no wildcard, no file suffix."""
    return Path(given).name == given and not set(given) & set("*?[~") and not Path(given).suffix


def _dataset(place: Path, split: str) -> Source:
    from focuscli.data.folder import read_folder

    dataset = read_folder(place)
    dataset.require_images()
    root = dataset.root.resolve()
    names = [dataset.images[index] for index in dataset.select(split)]
    return Source("dataset", root, dataset.schema.name, split, tuple(_crop(root, name) for name in names))


def _crop(root: Path, name: str) -> Crop:
    try:
        status = (root / name).stat()
    except OSError:
        return Crop(name, -1, 0)
    return Crop(name, status.st_size, status.st_mtime_ns)


def none_there(source: Source) -> InputError | None:
    """The error where not one of the listed files exists."""
    if any(crop.size >= 0 for crop in source.crops):
        return None
    return InputError(f"None of {len(source.crops):,} images of {source.name} is there (looked in {source.root}).")
