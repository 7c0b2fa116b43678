"""Which crops to index: those of a folder, of a dataset, or of a list. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from focuscli.data.inputs import LeftOut, find_images
from focuscli.errors import InputError, UsageError, did_you_mean
from focuscli.storage import paths
from focuscli.tools.gallery.store import Crop, SourceRecord


@dataclass(frozen=True)
class Source:
    """Crops in the order in which they are listed, and where they come from."""

    record: SourceRecord
    crops: tuple[Crop, ...]
    left_out: LeftOut = field(default_factory=dict)


def find_source(
    given: str,
    *,
    split: str | None = None,
    group: str | None = None,
    stdin: BinaryIO | None = None,
    null: bool = False,
) -> Source:
    """The crops that an argument means: images of a dataset (a folder with schema.toml, or the name of a prepared one), of
    a folder or a glob, or with `-` those named on stdin.

    Args:
        group: a column of the dataset's labels.csv, or a regular expression that finds a crop's group in its path.
        null: the paths on stdin end with NUL.

    Raises:
        InputError: nothing is there. UsageError: a split of something that has none, or groups that no crop has.
    """
    folder, groups = paths.user_path(given), None
    header: list[str] = []
    left_out: LeftOut = {}
    # A dataset's name has no separator, no wildcard and no file suffix.
    is_name = given != "-" and folder.name == given and not set(given) & set("*?[~") and not folder.suffix
    if os.path.isfile(folder / "schema.toml") or (is_name and not os.path.lexists(folder)):
        from focuscli.data.folder import LABELS_FILE, read_folder
        from focuscli.data.table import read_table

        dataset, split = read_folder(paths.resolve_dataset(given)), split or "all"
        dataset.require_images()
        chosen = dataset.select(split)
        record = SourceRecord("dataset", str(dataset.root.resolve()), dataset.name, split, group)
        names = [dataset.images[index] for index in chosen]
        table = read_table(dataset.path / LABELS_FILE)
        header = table.header
        if group in header:
            column = table.column(group)
            groups = [column[index] or None for index in chosen]
    elif split is not None:
        raise UsageError(f"{given} is not a dataset, so it has no splits.", "Remove --split.")
    elif os.path.isdir(folder):
        root = folder.resolve()
        record = SourceRecord("folder", str(root), root.name, "", group)
        found = find_images([str(root)], null=null)
        left_out, names = found.left_out, [path.relative_to(root).as_posix() for path in found.images]
    else:
        record = SourceRecord("list", "", given, "", group)
        # Absolute and without "..", but links stay as they are.
        found = find_images([given], stdin, null=null)
        left_out, names = found.left_out, [*dict.fromkeys(map(os.path.abspath, found.images))]
    crops, groups = [], _find_groups(names, group, header) if groups is None else groups
    for name, owner in zip(names, groups, strict=True):
        try:
            status = (Path(record.root) / name).stat()
            crops.append(Crop(name, status.st_size, status.st_mtime_ns, owner))
        except OSError:
            crops.append(Crop(name, -1, 0, owner))
    if all(crop.size < 0 for crop in crops):
        raise InputError(f"None of the {len(crops):,} images of {record.name} is there (looked in {record.root}).")
    return Source(record, tuple(crops), left_out)


def _find_groups(names: Sequence[str], pattern: str | None, columns: Sequence[str]) -> list[str | None]:
    """What a regular expression finds in each path: its first group in parentheses, or all of the match."""
    if pattern is None:
        return [None] * len(names)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group {pattern} is not a regular expression: {error}.") from error
    found = [compiled.search(name) for name in names]
    # A group is text also where a path is not UTF-8.
    groups = [str(match[min(1, compiled.groups)] or "").encode("utf-8", "replace") if match else b"" for match in found]
    if not any(groups):
        what = "is not a column of labels.csv, and " if columns else ""
        raise UsageError(
            f"--group {pattern} {what}finds nothing in paths such as {names[0]}.",
            did_you_mean(pattern, columns) or r"Name the folder above each crop, for example: '([^/]+)/'",
        )
    return [group.decode() or None for group in groups]
