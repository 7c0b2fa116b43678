"""Which model a gallery belongs to: features of one model mean nothing to another. Imports no torch."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from focuscli.errors import InputError, UsageError
from focuscli.storage.files import checkpoint_fingerprint, file_sha256
from focuscli.storage.paths import ZERO_SHOT

SEARCHABLE = ("focus", "clip", "clip-ft", "poar")


@dataclass(frozen=True)
class ModelRecord:
    """The model that made the features.

    Attributes:
        method: its name. step: of training; None for zero-shot CLIP. run: the checkpoint's folder.
        weights: where its initial weights came from. trained_on: which dataset. precision: fp32 or bf16, of the image tower.
        fingerprint: SHA-256 over all that decides its scores.
        file, size, mtime: the file of its weights, whose size and time of change (ns) spare hashing it at each search.
    """

    method: str
    step: int | None
    run: str
    weights: str
    trained_on: str
    precision: str
    fingerprint: str
    file: str
    size: int
    mtime: int

    def __str__(self) -> str:
        return f"{self.run} ({self.method}{'' if self.step is None else f', step {self.step:,}'})"

    @property
    def option(self) -> str:
        """What -c calls it."""
        return ZERO_SHOT if self.method == ZERO_SHOT else self.run


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies.

    Attributes:
        folder: a checkpoint. weights: the CLIP weight file of zero-shot CLIP, which has no checkpoint.
    """

    folder: Path
    weights: Path | None = None

    def fingerprint(self) -> str:
        """SHA-256 over all that decides its scores; reads the weights.

        Raises:
            InputError: there is no checkpoint in the folder, or it is damaged.
        """
        return checkpoint_fingerprint(self.folder) if self.weights is None else file_sha256(self.weights)

    def stamp(self) -> tuple[str, int, int]:
        """The file of its weights, its size and its time of change; raises as `fingerprint`."""
        try:
            file = self.weights
            if file is None:
                state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
                file = self.folder / state["files"]["model"]
            status = file.stat()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.weights or f'Checkpoint {self.folder}'} is damaged: {error!r}.") from error
        return str(file.absolute()), status.st_size, status.st_mtime_ns


def require_searchable(method: str) -> None:
    """Refuse a method whose score is not a function of a few stored vectors and any text.

    Raises:
        UsageError: it is such a method.
    """
    if method not in SEARCHABLE:
        raise UsageError(
            f"Method {method} cannot search a gallery: it has a classifier per trained attribute over all patches, "
            "and no tokens to compare a text with.",
            f"Use a checkpoint of: {', '.join(SEARCHABLE)}.",
        )


def check_model(gallery: Path, record: ModelRecord, model: ModelFiles) -> None:
    """Refuse a gallery of another model.

    Raises:
        InputError: it is of another one.
    """
    if model.stamp() == (record.file, record.size, record.mtime) or model.fingerprint() == record.fingerprint:
        return
    if Path(record.run).resolve() == model.folder.resolve():
        what = "CLIP's weights" if record.method == ZERO_SHOT else "the checkpoint"
        again = shlex.join(["-c", record.option, "-o", f"{gallery}-new"])
        raise InputError(
            f"{gallery} was indexed with {record}; {what} changed since then.",
            f"Index the images again into another folder: focus index SOURCE {again}",
        )
    raise InputError(
        f"{gallery} was indexed with another checkpoint: {record}, not {model.folder}.",
        f"Use that one: -c {shlex.quote(record.option)}. Or index the images again with this one into another folder.",
    )
