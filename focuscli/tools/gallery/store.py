"""A gallery on disk: what lies in its folder, and writing it so that a killed process leaves nothing half done.

    gallery.json            which model made it, the trained texts with their thresholds, what was indexed
    projection.npz          how `projection-*.npy` were made from the tokens
    tokens-00000.npy        [n, K, D] float16, the features of n crops
    projection-00000.npy    [n, R] float16, their projection for `focus search --fast`
    crops-00000.parquet     a line per crop: part and row (where its features are), path, path_bytes, size, mtime, group,
                            and the exact score of each trained text in a column named after its attribute

The last three files of one number are a part. The Parquet file is written last, so a part exists if its Parquet file does, and
whoever appends only needs a number that nobody has. A line that leaves the Parquet file has left the gallery.

Paths are relative to the indexed folder, or absolute if a list of files was indexed. A path that is not UTF-8 stands in
`path_bytes` as it is, and in `path` with its invalid bytes replaced; for all others `path_bytes` is null. Imports no torch.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from focuscli.errors import InputError, one_line
from focuscli.inference.vocabulary import Vocabulary
from focuscli.storage.documents import read_json
from focuscli.storage.files import (
    atomic_path,
    checkpoint_fingerprint,
    file_sha256,
    model_file,
    remove_leftovers,
    write_json,
)
from focuscli.storage.paths import ZERO_SHOT, argument

FORMAT = 3
INFO, PROJECTION = "gallery.json", "projection.npz"
FIXED_COLUMNS = ("part", "row", "path", "path_bytes", "size", "mtime", "group")
PART_FILE = re.compile(r"(?:tokens|projection)-(\d{5,})\.npy|crops-(\d{5,})\.parquet")
ANEW = "Index the images again into another folder: focus index SOURCE -o OTHER"
RESUME = "Repair it with: focus index SOURCE -o GALLERY --resume"


class Crop(NamedTuple):
    """An image file as it was when it was listed: size in bytes (-1: not there), time of change in ns, and its group (a
    person, a track), if any."""

    path: str
    size: int
    mtime: int
    group: str | None = None


@dataclass(frozen=True)
class SourceRecord:
    """What was indexed."""

    kind: str  # "folder", "dataset" or "list" (a glob, a file, or paths on stdin)
    root: str  # what the crops' paths are relative to; "" if they are absolute
    name: str
    split: str  # of a dataset, else ""
    group: str | None = None


@dataclass(frozen=True)
class ModelRecord:
    """The model that made the features."""

    method: str
    step: int | None  # None for zero-shot CLIP
    run: str  # the checkpoint's folder
    weights: str  # where its initial weights came from
    trained_on: str
    precision: str  # of the image tower
    fingerprint: str  # SHA-256 over all that decides its scores
    file: str  # with size and mtime as from `weight_file`, which spares hashing the weights at each search
    size: int
    mtime: int
    about: str = ""  # in words; galleries of version 0.1 do not say it

    @property
    def option(self) -> str:
        """What -c calls it."""
        return ZERO_SHOT if self.method == ZERO_SHOT else self.run


def weight_file(folder: Path, weights: Path | None) -> tuple[str, int, int]:
    """The weight file of a checkpoint with its size and time of change (ns); or `weights`, that of zero-shot CLIP.

    Raises:
        InputError: there is no checkpoint in the folder, or it is damaged.
    """
    file = weights or model_file(folder, read_json(folder / "state.json"))
    try:
        status = file.stat()
    except OSError as error:
        raise InputError(f"{weights or f'Checkpoint {folder}'} is damaged: {error!r}.") from error
    return str(file.absolute()), status.st_size, status.st_mtime_ns


def check_model(gallery: Path, record: ModelRecord, folder: Path, weights: Path | None) -> None:
    """Check that a gallery was made with a model, see `weight_file`: features of one model mean nothing to another.

    Raises:
        InputError: it was made with another one.
    """
    if weight_file(folder, weights) == (record.file, record.size, record.mtime):
        return
    if (file_sha256(weights) if weights else checkpoint_fingerprint(folder)) != record.fingerprint:
        step = "" if record.step is None else f", step {record.step:,}"
        again = shlex.join(["-c", record.option, "-o", f"{gallery}-new"])
        raise InputError(
            f"{gallery} was indexed with another checkpoint, or with an earlier state of it: {record.run} "
            f"({record.method}{step}), not {folder}.",
            f"Use that one: -c {shlex.quote(record.option)}. Or index the images again: focus index SOURCE {again}",
        )


@dataclass(frozen=True)
class Gallery:
    """The content of gallery.json."""

    folder: Path
    model: ModelRecord
    source: SourceRecord
    tokens: Annotated[int, Field(ge=1)]  # K of a crop's features
    width: Annotated[int, Field(ge=1)]  # D
    vocabulary: Vocabulary
    columns: tuple[str, ...]  # of the Parquet files, one per trained text
    complete: bool = False  # until the first run has come to its end

    @property
    def parts(self) -> list[Part]:
        """The parts that exist, by number."""
        found = (PART_FILE.fullmatch(file.name) for file in self.folder.glob("crops-*.parquet"))
        return [Part(self, number) for number in sorted(int(match[2]) for match in found if match)]

    def clean(self, kept: Mapping[int, list[int]]) -> None:
        """Write gallery.json, and remove all lines of some parts but those that are `kept`, and files that are no part's."""
        self.save()
        for number, lines in kept.items():
            Part(self, number).keep(lines)
        numbers = {part.number for part in self.parts}
        remove_leftovers(self.folder)
        for file in self.folder.iterdir():
            match = PART_FILE.fullmatch(file.name)
            if match and int(match[1] or match[2]) not in numbers:
                file.unlink(missing_ok=True)

    def save(self) -> None:
        """Write gallery.json."""
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_json(self.folder / INFO, {"format": FORMAT, **content})


@dataclass(frozen=True)
class Part:
    """Some crops of a gallery."""

    gallery: Gallery
    number: int

    def file(self, kind: str) -> Path:
        """The file of a kind: tokens, projection or crops."""
        return self.gallery.folder / f"{kind}-{self.number:05}.{'parquet' if kind == 'crops' else 'npy'}"

    def array(self, kind: str, *shape: int) -> NDArray[np.float16]:
        """The memory-mapped array [n, *shape] of a kind; what is written to it does not reach the file.

        Raises:
            InputError: the file is missing or damaged.
        """
        file = self.file(kind)
        try:
            found: NDArray[np.float16] = np.load(file, mmap_mode="c", allow_pickle=False)
            if found.shape[1:] != shape or found.dtype != np.float16:
                raise ValueError(f"{found.dtype} {found.shape}, not float16 {('n', *shape)}")
        except Exception as error:  # a damaged header raises almost anything
            raise InputError(f"{file} is missing or damaged: {str(error)[:200]}.", RESUME) from error
        return found

    def tokens(self) -> NDArray[np.float16]:
        """Features [n, K, D], see `array`."""
        return self.array("tokens", self.gallery.tokens, self.gallery.width)

    def crops(self, lines: NDArray[np.int64] | None = None) -> list[Crop]:
        """The crops on some lines of the Parquet file, by default on all.

        Raises:
            InputError: a file of the part is missing or damaged.
        """
        columns = self._read([*FIXED_COLUMNS])
        if lines is not None:
            columns = columns.take(lines)
        rows = columns["row"].to_numpy()
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.tokens()):
            raise InputError(f"{self.file('crops')} names rows that {self.file('tokens').name} does not have.", RESUME)
        path, raw, size, group = (columns[name].to_pylist() for name in ("path", "path_bytes", "size", "group"))
        mtime = columns["mtime"].cast("int64").to_pylist()
        return [Crop(*crop) for crop in zip(map(path_of, path, raw), size, mtime, group, strict=True)]

    def write(self, tokens: NDArray[np.float16], crops: Sequence[Crop], scores: NDArray[np.float32]) -> None:
        """Write the features, and last the Parquet file.

        Args:
            scores: [n, Z] of the crops against the vocabulary's trained texts.

        Raises:
            RequirementError: no space, or the folder cannot be written.
        """
        import pyarrow as pa

        self.save("tokens", tokens)
        paths = [os.fsencode(crop.path) for crop in crops]
        text = [path.decode("utf-8", "replace") for path in paths]
        raw = [None if path == shown.encode() else path for path, shown in zip(paths, text, strict=True)]
        columns: dict[str, Any] = {
            "part": pa.array([self.number] * len(crops), pa.int32()),
            "row": pa.array(range(len(crops)), pa.int32()),
            "path": pa.array(text, pa.string()),
            "path_bytes": pa.array(raw, pa.binary()),
            "size": pa.array([crop.size for crop in crops], pa.int64()),
            "mtime": pa.array([crop.mtime for crop in crops], pa.int64()).cast(pa.timestamp("ns")),
            "group": pa.array([crop.group for crop in crops], pa.string()),
        }
        columns |= {name: pa.array(column) for name, column in zip(self.gallery.columns, scores.T, strict=True)}
        self._write(pa.table(columns))

    def save(self, kind: str, values: NDArray[np.float16]) -> None:
        """Write the array of a kind alone; raises as `write`."""
        with atomic_path(self.file(kind)) as temporary, open(temporary, "wb") as stream:
            np.save(stream, values)

    def keep(self, lines: Sequence[int]) -> None:
        """Remove all crops but those on some lines of the Parquet file, or the whole part, its Parquet file first."""
        if lines:
            self._write(self._read(None).take(lines))
            return
        for kind in ("crops", "tokens", "projection"):
            self.file(kind).unlink(missing_ok=True)

    def _read(self, columns: list[str] | None) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.file("crops"), columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.file('crops')} is damaged: {error}.", RESUME) from error

    def _write(self, table: Any) -> None:
        import pyarrow.parquet as pq

        # Dictionaries only where values repeat: of scores and paths they are larger, and slower to read.
        with atomic_path(self.file("crops")) as temporary:
            pq.write_table(table, temporary, use_dictionary=["part", "group"])


_FORM = TypeAdapter(Gallery)


def path_of(text: str, raw: bytes | bytearray | None) -> str:
    """The path in the columns `path` and `path_bytes`."""
    return text if raw is None else os.fsdecode(bytes(raw))


def column_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """A column for each trained text: its attribute's name, or the phrase of a complement. SQL ignores case, so names that
    differ in nothing else, or are those of other columns, get a "_" at their end."""
    names: list[str] = []
    taken = {*FIXED_COLUMNS}
    for text in vocabulary.trained:
        name = text.attribute or text.phrase
        while name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        names.append(name)
    return tuple(names)


def read_gallery(folder: Path) -> Gallery:
    """The gallery of a folder, finished or not.

    Raises:
        InputError: there is none, it is damaged, or of an earlier version.
    """
    file = folder / INFO
    if not file.is_file():
        raise InputError(
            f"Not a gallery: {folder} (no {INFO} in it).", f"Make one with: focus index FOLDER -o {argument(folder)}"
        )
    content = read_json(file, ANEW)
    try:
        found = content.pop("format")
        if found != FORMAT:
            raise InputError(f"{folder} was made by another version of focus (format {found}, not {FORMAT}).", ANEW)
        gallery = _FORM.validate_json(json.dumps({**content, "folder": str(folder)}), strict=True)
        if len(gallery.columns) != len(gallery.vocabulary.trained):
            raise ValueError(f"{len(gallery.columns)} columns for {len(gallery.vocabulary.trained)} trained texts")
        return gallery
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {one_line(error)}", ANEW) from error
