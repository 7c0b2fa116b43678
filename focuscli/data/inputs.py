"""Which image files a user's arguments mean, and which files of their folders are left out."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from focuscli.data.formats import holds_image, looks_like_image, plugin_for
from focuscli.errors import InputError, UsageError, closest, plural
from focuscli.storage.files import kind_of
from focuscli.storage.paths import user_path

LeftOut = dict[str, list[str]]
"""Why files of a folder are not read, in the singular -> their paths in it."""


@dataclass
class FoundImages:
    """The image files that arguments stand for, each once, and what was left out of the folders among them."""

    images: list[Path]
    left_out: LeftOut = field(default_factory=dict)


def find_images(arguments: Sequence[str], stdin: BinaryIO | None = None, *, null: bool = False) -> FoundImages:
    """The image files that arguments stand for.

    Files are taken as given, folders are searched as by `walk`, globs are expanded, and `-` stands for the paths of
    `stdin`, see `read_list`. The order is that of the arguments, and by name within a folder or glob. Only arguments have
    to exist: a listed file that is not there is an unreadable image like any other.

    Args:
        null: the paths of stdin end with NUL.

    Raises:
        InputError: an argument matches nothing, or there is no argument. UsageError: `null` without `-`.
    """
    if null and "-" not in arguments:
        raise UsageError("--null is about paths on stdin.", "Add - : find ... -print0 | focus predict - --null")
    found = FoundImages([])
    images: dict[Path, None] = {}
    for argument in arguments:
        if argument == "-":
            for name in read_list(stdin.read() if stdin else b"", null=null):
                images |= dict.fromkeys(_listed(name, found.left_out))
        elif argument.strip():
            images |= dict.fromkeys(_expand(argument, found.left_out))
    if not images:
        raise InputError(
            "No image was given.",
            _none_of(found.left_out) or "Give image files, folders, globs, or - and paths on stdin.",
        )
    found.images = [*images]
    return found


def read_list(content: bytes, *, null: bool = False) -> list[str]:
    """The paths of a list: one a line, with any line ends, with or without a byte order mark; with `null` each ends with NUL.

    Raises:
        InputError: there are NULs without `null`, lines with it, or half a letter in UTF-16.
    """
    if null:
        if b"\n" in content and b"\0" not in content:
            raise InputError("The list of paths has no NUL characters, but lines.", "Omit --null (-0).")
        return [os.fsdecode(name) for name in content.split(b"\0") if name]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what > writes in Windows PowerShell
        try:
            content = content.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise InputError(f"The list of paths is damaged UTF-16: {error.reason}.", "Save it as UTF-8.") from error
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if any(b"\0" in line for line in lines):
        raise InputError(
            "The list of paths has NUL characters.", "If find -print0 or the like wrote it, add --null (-0)."
        )
    return [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]


def walk(folder: Path, left_out: LeftOut) -> list[Path]:
    """The images in a folder and its subfolders, by name; what is not read is added to `left_out`.

    A file is an image by its suffix, one without a suffix by its content. Links to files are followed, links to folders are
    not, hidden files and folders are left out.

    Raises:
        InputError: the folder itself cannot be read.
    """

    def leave(reason: str, path: str) -> None:
        left_out.setdefault(reason, []).append(os.path.relpath(path, folder))

    images, pending = [], [str(folder)]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if place == str(folder):
                raise InputError(
                    f"Cannot read folder {folder}: {error.strerror}.", "Name one that you may read."
                ) from error
            leave("unreadable folder", place)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                leave("hidden file", entry.path)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif not os.path.exists(entry.path):
                leave("broken link", entry.path)
            elif os.path.isdir(entry.path):
                leave("linked folder", entry.path)
            elif not os.path.isfile(entry.path):
                leave("pipe or device", entry.path)
            elif looks_like_image(entry.name) or ("." not in entry.name and holds_image(entry.path)):
                images.append(Path(entry.path))
            else:
                leave("other file", entry.path)
    return sorted(images)


def describe(left_out: Mapping[str, Sequence[str]]) -> str:
    """ "2 broken links (a.jpg, b.jpg), 1 other file (IMG_1.HEIC)", and the package that would read such files."""
    parts = []
    for reason, names in left_out.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        parts.append(f"{plural(len(names), reason)} ({shown})")
    packages = sorted({package for name in left_out.get("other file", ()) if (package := plugin_for(name))})
    return ", ".join(parts) + "".join(f"; to read such files: pip install {package}" for package in packages)


def unlisted(root: Path, images: Sequence[str]) -> str:
    """The files in a folder of images that a table does not name, in the words of `describe`; "" for none."""
    left_out: LeftOut = {}
    known = {os.path.normpath(root / image) for image in images}
    more = [str(path.relative_to(root)) for path in walk(root, left_out) if str(path) not in known]
    others = {
        reason: [n for n in names if os.path.normpath(root / n) not in known] for reason, names in left_out.items()
    }
    return describe({reason: names for reason, names in {"image": more, **others}.items() if names})


def matches(pattern: str) -> list[Path]:
    """The files that a glob matches; brackets in the name of a folder that exists mean themselves."""
    if not glob.has_magic(pattern):
        return []
    known, rest = "", Path(user_path(pattern)).parts
    while len(rest) > 1 and os.path.isdir(os.path.join(known, rest[0])):
        known, rest = os.path.join(known, rest[0]), rest[1:]
    found = glob.glob(os.path.join(glob.escape(known), *rest), recursive=True)
    return [Path(match) for match in sorted(found) if os.path.isfile(match)]


def near_file(path: Path) -> str | None:
    """The hint for a file that does not exist: the one beside it with the nearest name, an image for an image."""
    if not os.path.isdir(path.parent):
        return f"The folder {path.parent} does not exist either; is the disk attached, is image_root right?"
    try:
        names = [name for name in os.listdir(path.parent) if looks_like_image(name) == looks_like_image(path.name)]
    except OSError:
        return None
    stems = {os.path.splitext(name)[0]: name for name in names} if len(names) <= 10_000 else {}
    near = closest(path.stem, stems)  # most suffixes are the same
    return f"Did you mean {path.parent / stems[near]}?" if near else None


def _expand(name: str, left_out: LeftOut) -> list[Path]:
    path = user_path(name)
    try:
        kind = kind_of(path)
    except OSError as error:
        raise InputError(f"Cannot read {name}: {error.strerror}.", "Name a file that you may read.") from error
    if kind == "folder":
        own: LeftOut = {}
        images = walk(path, own)
        if not images:
            raise InputError(f"No image in folder {path}.", _none_of(own))
        for reason, names in own.items():
            left_out.setdefault(reason, []).extend(names)
        return images
    if kind == "file":
        return [path]
    if kind:
        raise InputError(
            f"{name} is a {kind}, not an image file.", "Save the image to a file; a list of paths is read by -"
        )
    found = matches(name)
    if not found:
        raise InputError(f"No such image: {name}.", near_file(path))
    return found


def _listed(name: str, left_out: LeftOut) -> Iterator[Path]:
    if not os.path.isdir(name):
        yield Path(name)
        return
    try:
        yield from walk(Path(name), left_out)
    except InputError:
        left_out.setdefault("unreadable folder", []).append(name)


def _none_of(left_out: LeftOut) -> str | None:
    return f"Left out: {describe(left_out)}." if left_out else None
