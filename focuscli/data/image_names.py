"""Names of images in tables: which file each one means, and that no two mean the same."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from focuscli.data.inputs import looks_like_image
from focuscli.errors import InputError, plural
from focuscli.storage.paths import argument

MOST_FILES = 200_000
"""Folders with more are not searched for names that differ in case or suffix."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
OUTSIDE_HINT = "Paths are relative to image_root in schema.toml; set that to the folder that holds all images."


def check_image_names(
    images: Sequence[str], places: Sequence[str], root: Path | None = None, hint: str = OUTSIDE_HINT
) -> None:
    """Refuse names that are empty, lead out of the image root, or mean the same file twice; `places` tell where each one is.

    Args:
        root: the image root; with it, links to one file count as that file.
        hint: what to do about a path that leads out.

    Raises:
        InputError: names the first such image and its place.
    """
    seen: dict[str | tuple[int, int], int] = {}
    for number, (image, place) in enumerate(zip(images, places, strict=True)):
        if not image or _CONTROL.search(image):
            raise InputError(f"{place}: {image!r} is not a file name.")
        # Read as a Windows path, both kinds of separator and drive letters count on every machine.
        path = PureWindowsPath(image)
        if path.anchor or ".." in path.parts:
            raise InputError(f'{place}: "{image}" leads out of the folder of images.', hint)
        keys: list[str | tuple[int, int]] = [posixpath.normpath(image)]
        if root is not None:
            with contextlib.suppress(OSError, ValueError):
                status = (root / image).stat()
                keys.append((status.st_dev, status.st_ino))
        for key in keys:
            if (other := seen.setdefault(key, number)) != number:
                first = images[other]
                same = "is listed twice" if first == image else f'is the same file as "{first}"'
                raise InputError(
                    f'{place}: image "{image}" {same} (first: {places[other]}).', "Delete one of the two rows."
                )


def match_images(names: Sequence[str], folders: Sequence[Path], command: str) -> tuple[Path, list[str], list[str]]:
    """Find the files that names in a table mean.

    Names may be relative to one of the folders, or absolute; with backslashes; from another machine, if they fit the folder
    without what they all begin with; and differ from the file in case and suffix, where only one file fits.

    Args:
        command: for hints: the command that reads the table, to which --images can be added.

    Returns:
        The folder, absolute; the names relative to it with forward slashes, unchanged where nothing fits; and notes.

    Raises:
        InputError: no name fits any of the folders, or one fits several files.
    """
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    sample = [*paths[:20], *paths[:: max(1, len(paths) // 50)]]
    for folder in folders:
        if any((folder / path).is_file() for path in sample):
            return _match(paths, _Files(folder), ())
    every = [_Files(folder) for folder in folders]
    for files in every:
        for path in sample:
            for start in range(len(path.parts)):
                if ".." not in path.parts and files.find(PurePosixPath(*path.parts[start:])):
                    return _match(paths, files, path.parts[:start])
    looked = " and ".join(str(folder) for folder in folders)
    problem = f"Image {names[0]} is not there, and none of the {len(names):,} is (looked in {looked})."
    for files in every:
        if places := {path.parent for path in files.all if path.name.casefold() == paths[0].name.casefold()}:
            place = files.folder / min(places)
            raise InputError(problem, f"A file of that name is in {place}: {command} --images {argument(place)}")
    there = next((f"{files.folder} has others, such as {files.all[0]}. " for files in every if files.all), "")
    raise InputError(problem, f"{there}Name the folder that holds the images: {command} --images FOLDER")


class _Files:
    """The image files below a folder, found by name without regard to case and suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @cached_property
    def all(self) -> list[PurePosixPath]:
        """Paths relative to the folder; none where there are too many, as in somebody's home."""
        found: list[PurePosixPath] = []
        seen = 0
        for place, folders, names in os.walk(self.folder):
            folders.sort()
            found += [PurePosixPath(place, name) for name in sorted(names) if looks_like_image(name)]
            seen += 1 + len(names)
            if seen > MOST_FILES:
                return []
        return [path.relative_to(self.folder.as_posix()) for path in found]

    @cached_property
    def _by_stem(self) -> dict[str, list[PurePosixPath]]:
        index: dict[str, list[PurePosixPath]] = {}
        for path in self.all:
            index.setdefault(_plain(path.with_suffix("")), []).append(path)
        return index

    def find(self, path: PurePosixPath) -> PurePosixPath | None:
        """The file that a path means, relative to the folder; None where there is none.

        Raises:
            InputError: several files fit.
        """
        if (self.folder / path).is_file():
            return path
        if ".." in path.parts or not path.name:
            return None
        stem = path.with_suffix("") if looks_like_image(path.name) else path
        similar = self._by_stem.get(_plain(stem), [])
        found = [other for other in similar if _plain(other) == _plain(path)] or similar
        if len(found) > 1:
            problem = f'Image "{path}" is not in {self.folder}, but {" and ".join(map(str, found[:3]))} are.'
            raise InputError(problem, "Write the names in the table as those of the files.")
        return found[0] if found else None


def _match(paths: Sequence[PurePosixPath], files: _Files, prefix: Sequence[str]) -> tuple[Path, list[str], list[str]]:
    """The result of `match_images` for one folder; `prefix` is the beginning of the names that the folder replaces."""
    names, renamed, cut = [], 0, 0
    for path in paths:
        within = path.relative_to(files.folder) if path.is_relative_to(files.folder) else path
        if prefix and path.parts[: len(prefix)] == prefix:
            within, cut = PurePosixPath(*path.parts[len(prefix) :]), cut + 1
        found = files.find(within)
        renamed += found is not None and found != within
        names.append(str(found or within))
    notes = []
    if cut:
        beginning = str(PurePosixPath(*prefix))
        notes.append(f"{plural(cut, 'image name')}: the beginning {beginning} was replaced by {files.folder}")
    if renamed:
        notes.append(
            f"{plural(renamed, 'image name')}: another case, suffix or leading zeros than the file's name, which was taken"
        )
    return files.folder, names, notes


def _plain(path: PurePosixPath) -> str:
    """A path without case and the zeros that spreadsheets delete, and with accents in one of the two ways of writing them."""
    name = re.sub(r"^0+(?=\d+(\.|$))", "", path.name)
    return unicodedata.normalize("NFC", str(path.with_name(name) if name else path)).casefold()
