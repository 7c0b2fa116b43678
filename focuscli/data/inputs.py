"""Which image files a user's arguments mean. Imports nothing heavy, because every command line that takes images does."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from focuscli.data.formats import formats, looks_like_image
from focuscli.errors import InputError, closest
from focuscli.storage.paths import user_path


def expand_images(arguments: Sequence[str], stdin: Iterable[str] = ()) -> list[Path]:
    """The image files that arguments stand for.

    Files are taken as given, folders are searched recursively for images, globs are expanded, and `-` stands for one
    path per line of `stdin`. The order is that of the arguments, and by name within a folder or glob; a file named twice
    appears once.

    Raises:
        InputError: an argument matches nothing, or there is no argument.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        names = [line.rstrip("\r\n") for line in stdin] if argument == "-" else [argument]
        for name in names:
            if name.strip():
                found |= dict.fromkeys(_expand(name))
    if not found:
        raise InputError("No image was given.", "Give image files, folders, globs, or - and paths on stdin.")
    return [*found]


def _expand(name: str) -> list[Path]:
    path = user_path(name)
    if path.is_dir():
        images = sorted(file for file in path.rglob("*") if looks_like_image(file.name) and file.is_file())
        if not images:
            raise InputError(f"No image in folder {path} (looked for {', '.join(sorted(formats()))}).")
        return images
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else []
    if matches:
        return [Path(match) for match in matches if Path(match).is_file()]
    raise InputError(f"No such image: {name}.", near_file(path))


def near_file(path: Path) -> str | None:
    """The hint for a file that does not exist: the one beside it with the nearest name."""
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either; is the disk attached, is image_root right?"
    names = os.listdir(path.parent)
    near = closest(path.name, names) if len(names) <= 10_000 else None
    return f"Did you mean {path.parent / near}?" if near else None
