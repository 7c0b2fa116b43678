"""PETA on disk: where the images of either layout lie, in the order of PETA.mat, and what the Label.txt files say.

Layout "subsets" is what PETA's authors distribute: for each of ten subsets the folder <subset>/archive with image files
and a Label.txt. Layout "numbered" is the repackaged copy of many papers: images/00001.png and so on, with PETA.mat.

Image i of PETA.mat is the i-th file of the subsets in alphabetical order (letter case aside), each with its image files
in byte order of their names; natural number order would be wrong in 3DPeS and TownCentre. The person's number at the
head of each file name equals the fourth column of PETA.mat for all 19,000 images, which `read_peta` checks.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focuscli.data.inputs import looks_like_image
from focuscli.data.schema import AttributeSchema
from focuscli.errors import InputError

SUBSETS = ("3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR")
# Digits of the person's number where it need not end at a "_".
_PREFIX_DIGITS = {"i-LID": 4, "MIT": 5, "PRID": 4, "SARC3D": 3, "VIPeR": 3}
_ALIASES = {"footwearSneakers": "footwearSneaker"}  # Label.txt's spelling -> PETA.mat's
EXCLUDED = ("accessoryFaceMask", "accessoryShawl", "lowerBodyLogo")  # in Label.txt, but not among the 105
_HINT = (
    "Give the folder that holds the ten subsets (3DPeS/archive, ..., VIPeR/archive), or images/00001.png and so on "
    "with PETA.mat."
)


@dataclass(frozen=True, eq=False)
class PetaFiles:
    """The images of PETA in the order of PETA.mat.

    Attributes:
        layout: "subsets" or "numbered".
        root: folder that `images` are relative to.
        images: N paths.
        mat: the PETA.mat file, or None without one.
        subsets: [N] 1 to 10, numbers: [N] the person's number within its subset; both empty in layout "numbered".
        ignored: files in the image folders that are not images.
    """

    layout: str
    root: Path
    images: tuple[str, ...]
    mat: Path | None
    subsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    ignored: int = 0


def find_peta(source: Path) -> PetaFiles:
    """Find the images below `source`: the folder itself or one at most two levels down.

    Raises:
        InputError: missing, neither layout, or subsets or images are missing, which are named.
    """
    source = Path(source).expanduser()
    if source.is_file() and source.suffix.lower() == ".mat":
        source = source.parent
    if not source.is_dir():
        unpack = f"{source} is a file; unpack it and give the folder." if source.is_file() else _HINT
        raise InputError(f"No folder {source}.", unpack)
    source = source.resolve()
    level, root = [source], source
    folders: dict[str, Path] = {}
    for _ in range(3):
        found = [(candidate, _subset_folders(candidate)) for candidate in level]
        root, folders = max(found, key=lambda pair: len(pair[1]), default=(source, {}))
        if folders:
            break
        level = [path for parent in level for path in sorted(_entries(parent)) if path.is_dir()]
    if folders:
        missing = [name for name in SUBSETS if name not in folders]
        if missing:
            raise InputError(f"{root} lacks {len(missing)} of PETA's ten subsets: {', '.join(missing)}.", _HINT)
        return _subsets_layout(root, folders, _find_mat((source, root, root.parent)))
    for folder in (source / "images" / "images", source / "images", source):
        numbered = _numbered_layout(folder, (source, folder, folder.parent, source.parent))
        if numbered is not None:
            return numbered
    raise InputError(f"{source} is not PETA: no subset such as 3DPeS/archive and no images/00001.png in it.", _HINT)


def read_label_texts(
    files: PetaFiles, schema: AttributeSchema
) -> tuple[NDArray[np.int8], NDArray[np.bool_], list[str]]:
    """Read the ten Label.txt files of layout "subsets".

    A line is a key and the names of the attributes that are true: per file in CUHK, per person in the other subsets.

    Returns:
        labels [N, A] in schema order; whether a label of `EXCLUDED` is on an image [N]; notes on what was ignored.

    Raises:
        InputError: a Label.txt is missing, or an image has no line.
    """
    columns = {attribute.name: number for number, attribute in enumerate(schema.attributes)}
    labels = np.zeros((len(files.images), len(columns)), np.int8)
    has_excluded = np.zeros(len(files.images), np.bool_)
    unknown: Counter[str] = Counter()
    without_image = 0
    for subset in range(1, len(SUBSETS) + 1):
        rows = np.flatnonzero(files.subsets == subset)
        folder = files.root / Path(files.images[rows[0]]).parent
        try:
            text = (folder / "Label.txt").read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise InputError(
                f"Cannot read {folder / 'Label.txt'}: {error.strerror or error}.", "Unpack PETA again, or add PETA.mat."
            ) from error
        lines = parse_label_text(text, folder / "Label.txt")
        for row in rows:
            words = lines.get(int(files.numbers[row]))
            if words is None:
                raise InputError(
                    f"{files.root / files.images[row]} has no line in {folder / 'Label.txt'}.", "Unpack PETA again."
                )
            known = [columns[word] for word in words if word in columns]
            labels[row, known] = 1
            has_excluded[row] = any(word in EXCLUDED for word in words)
        for words in lines.values():
            unknown.update(word for word in words if word not in columns and word not in EXCLUDED)
        without_image += len(lines.keys() - set(files.numbers[rows].tolist()))
    notes = []
    if without_image:
        notes.append(f"{without_image} lines of Label.txt are about files or persons without an image")
    if unknown:
        named = ", ".join(f"{word} ({count})" for word, count in unknown.most_common(5))
        notes.append(f"ignored words in Label.txt that are not attributes of PETA: {named}")
    return labels, has_excluded, notes


def parse_label_text(text: str, path: Path) -> dict[int, set[str]]:
    """The attributes per key of a Label.txt: lines of a number (or a file name that begins with one) and names.

    Raises:
        InputError: a line begins with something else; the message names `path` and line.
    """
    lines: dict[int, set[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key, *words = line.split() or [""]
        if not key:
            continue
        digits = re.match(r"[0-9]+", key)  # CUHK's keys are file names, whose suffix may differ from the file's
        if digits is None:
            raise InputError(f'{path} line {number}: "{key}" does not begin with a number.', "Unpack PETA again.")
        lines.setdefault(int(digits[0]), set()).update(_ALIASES.get(word, word) for word in words)
    return lines


def _subset_folders(folder: Path) -> dict[str, Path]:
    wanted = {name.lower(): name for name in SUBSETS}
    folders = {}
    for entry in _entries(folder):
        name = wanted.get(entry.name.lower())
        if name and entry.is_dir():
            folders[name] = entry / "archive" if (entry / "archive").is_dir() else entry
    return folders


def _subsets_layout(root: Path, folders: dict[str, Path], mat: Path | None) -> PetaFiles:
    images: list[str] = []
    subsets: list[int] = []
    numbers: list[int] = []
    ignored = 0
    for subset, name in enumerate(SUBSETS, start=1):
        entries = [entry for entry in os.listdir(folders[name]) if entry.lower() != "label.txt"]
        files = [entry for entry in entries if _is_image(entry)]
        ignored += len(entries) - len(files)
        if not files:
            raise InputError(f"Subset {name} has no images in {folders[name]}.", "Unpack PETA again.")
        for file in sorted(files, key=os.fsencode):
            digits = re.match(r"[0-9]+", file)
            if digits is None:
                raise InputError(
                    f"{folders[name] / file}: PETA's image files begin with a number.", "Move that file elsewhere."
                )
            images.append((folders[name] / file).relative_to(root).as_posix())
            subsets.append(subset)
            numbers.append(int(digits[0][: _PREFIX_DIGITS.get(name)]))
    return PetaFiles("subsets", root, tuple(images), mat, np.array(subsets), np.array(numbers), ignored)


def _numbered_layout(folder: Path, mat_folders: Iterable[Path]) -> PetaFiles | None:
    """The layout of one folder with images 00001.png and so on; None if it has no such image."""
    files: dict[int, str] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if _is_image(name) and re.fullmatch(r"[0-9]{5}", os.path.splitext(name)[0]):
            if int(name[:5]) in files:
                raise InputError(f"{folder} holds image {name[:5]} twice: {files[int(name[:5])]} and {name}.")
            files[int(name[:5])] = name
    if not files:
        return None
    mat = _find_mat(mat_folders)
    if mat is None:
        raise InputError(
            f"Found {len(files):,} numbered images in {folder}, but no PETA.mat beside them, which holds their labels.",
            "Put PETA.mat into the folder that you give, or use the authors' own folders with Label.txt.",
        )
    missing = [number for number in range(1, max(files) + 1) if number not in files]
    if missing:
        first = ", ".join(f"{number:05d}" for number in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(f"{len(missing):,} images are missing in {folder}: {first}.", "Copy them again.")
    none = np.array([], np.int64)
    return PetaFiles("numbered", folder, tuple(files[number] for number in sorted(files)), mat, none, none)


def _find_mat(folders: Iterable[Path]) -> Path | None:
    for folder in folders:
        for path in _entries(folder):
            if path.name.lower() == "peta.mat" and path.is_file():
                return path
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # a folder that may not be read holds nothing for us
        return []


def _is_image(name: str) -> bool:
    return looks_like_image(name) and not name.startswith(".")
