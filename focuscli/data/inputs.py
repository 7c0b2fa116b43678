"""Which image files a user's arguments mean."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from focuscli.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"})


def expand_images(arguments: Sequence[str], stdin: Iterable[str] = ()) -> list[Path]:
    """Files as they are, folders searched recursively for images, globs expanded, `-` as one path per line of `stdin`.

    The order is that of the arguments; within a folder or glob sorted by name. A file named twice appears once.

    Raises:
        InputError: a name that fits nothing, or nothing at all.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        names = [line.rstrip("\r\n") for line in stdin] if argument == "-" else [argument]
        for name in names:
            if name.strip():
                found |= dict.fromkeys(_expand(name))
    if not found:
        raise InputError("No image in what was given.", "Give image files, folders, globs, or - and paths on stdin.")
    return [*found]


def looks_like_image(name: str) -> bool:
    """Whether a name has the suffix of an image file."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _expand(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        images = sorted(file for file in path.rglob("*") if looks_like_image(file.name) and file.is_file())
        if not images:
            raise InputError(f"No image in folder {path} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
        return images
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else []
    if matches:
        return [Path(match) for match in matches if Path(match).is_file()]
    siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"Did you mean {path.parent / close[0]}?" if close else None
    raise InputError(f"No such image: {name}.", hint)
