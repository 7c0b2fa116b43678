"""Which crops to index: those of a folder, of a dataset, or of a list. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from focuscli.data.inputs import expand_images
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage import paths
from focuscli.tools.gallery.store import Crop, SourceRecord


@dataclass(frozen=True)
class Source:
    """Crops in the order in which they are listed, and where they come from."""

    record: SourceRecord
    crops: tuple[Crop, ...]

    def path(self, crop: Crop) -> Path:
        """The image file of a crop."""
        return Path(self.record.root) / crop.path


def find_source(given: str, *, split: str | None = None, group: str | None = None, stdin: Iterable[str] = ()) -> Source:
    """The crops that an argument means: images of a dataset (a folder with schema.toml, or the name of a prepared one), of
    a folder or a glob, or with `-` those named on stdin.

    Args:
        group: a column of the dataset's labels.csv, or a regular expression that finds a crop's group in its path.

    Raises:
        InputError: nothing is there. UsageError: a split of something that has none, or groups that no crop has.
    """
    folder = Path(given).expanduser()
    if (folder / "schema.toml").is_file() or (given != "-" and _is_name(given) and not folder.exists()):
        return _dataset(paths.resolve_dataset(given), split or "all", group)
    if split is not None:
        raise UsageError(f"{given} is not a dataset, so it has no splits.", "Remove --split.")
    if folder.is_dir():
        root = folder.resolve()
        names = [path.relative_to(root).as_posix() for path in expand_images([str(root)])]
        record = SourceRecord("folder", str(root), root.name, "", group)
    else:
        # Absolute and without "..", but links stay as they are.
        names = [*dict.fromkeys(os.path.abspath(path) for path in expand_images([given], stdin))]
        record = SourceRecord("list", "", given, "", group)
    return _source(record, names, _groups(names, group))


def _is_name(given: str) -> bool:
    """Whether it can only be a dataset's name: no separator, no wildcard, no file suffix."""
    return Path(given).name == given and not set(given) & set("*?[~") and not Path(given).suffix


def _dataset(place: Path, split: str, group: str | None) -> Source:
    from focuscli.data.folder import LABELS_FILE, read_folder
    from focuscli.data.labels_csv import read_table

    dataset = read_folder(place)
    dataset.require_images()
    chosen = dataset.select(split)
    names = [dataset.images[index] for index in chosen]
    table = read_table(dataset.path / LABELS_FILE)
    if group is not None and group in table.header:
        column = table.column(group)
        groups = [column[index] or None for index in chosen]
    else:
        groups = _groups(names, group, table.header)
    record = SourceRecord("dataset", str(dataset.root.resolve()), dataset.schema.name, split, group)
    return _source(record, names, groups)


def _groups(names: Sequence[str], pattern: str | None, columns: Sequence[str] = ()) -> list[str | None]:
    """What a regular expression finds in each path: its first group in parentheses, or all of the match."""
    if pattern is None:
        return [None] * len(names)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group {pattern} is not a regular expression: {error}.") from error
    found = [compiled.search(name) for name in names]
    groups = [match and match[min(1, compiled.groups)] for match in found]
    if not any(groups):
        hint = (
            did_you_mean(pattern, columns) if columns else r"Name the folder above each crop, for example: '([^/]+)/'"
        )
        what = "is not a column of labels.csv, and as a regular expression it" if columns else "as a regular expression"
        raise UsageError(f"--group {pattern} {what} finds nothing in paths such as {names[0]}.", hint)
    # A group is text also where a path is not UTF-8.
    return [group.encode("utf-8", "replace").decode() if group else None for group in groups]


def _source(record: SourceRecord, names: Sequence[str], groups: Sequence[str | None]) -> Source:
    crops = tuple(_crop(Path(record.root), name, group) for name, group in zip(names, groups, strict=True))
    if all(crop.size < 0 for crop in crops):
        raise InputError(f"None of the {len(crops):,} images of {record.name} is there (looked in {record.root}).")
    return Source(record, crops)


def _crop(root: Path, name: str, group: str | None) -> Crop:
    try:
        status = (root / name).stat()
    except OSError:
        return Crop(name, -1, 0, group)
    return Crop(name, status.st_size, status.st_mtime_ns, group)
