"""What lies in a gallery folder, and reading it.

    gallery.json                   the manifest: which model, which shards; replacing it commits a change
    basis-<id>.safetensors         the sketch's basis (FOCUS only)
    <number>-<digest>.json         a shard's record: how many crops, which images could not be read
    <number>-<digest>.tokens.npy   [n, K, D] float16, row i is line i of
    <number>-<digest>.crops.jsonl  ["path", bytes, modified in ns] of each crop
    <number>-<digest>.<id>.sketch.npy   [n, K, R] int8, .norms.npy [n, K, H] and .floors.npy [n, 3, K, H] float16: see
                                   `sketch`

A shard's name has the digest of what was to go into it, so two different shards never share a name, and shard i is the
same file whichever process wrote it. <id> is the digest of the basis, so a sketch is never read with another one. A
record is written after its files, the manifest after all records: a process that dies leaves a gallery that is as it
was, and shards that `focus index --resume` finds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from focuscli.errors import InputError
from focuscli.storage.files import write_json
from focuscli.tools.gallery.shards import Shard, open_array

MANIFEST = "gallery.json"
FORMAT = 2
ANEW = "Index the images again into another folder: focus index SOURCE -o OTHER"
SKETCH = ("sketch", "norms", "floors")
SOURCE = frozenset({"kind", "root", "name", "split"})
ShardName = Annotated[str, Field(pattern=r"^[0-9]{6,}-[0-9a-f]{12}$")]


@dataclass(frozen=True)
class Binding:
    """Which model made the features.

    Attributes:
        method: its name. config: SHA-256 of its model configuration. step: of training; None for CLIP as it is.
        weights: SHA-256 over all parameters. origin: where CLIP's weights came from. run: the checkpoint's folder.
        precision: `fp32` or `bf16`, of the image tower.
    """

    method: str
    config: str
    step: int | None
    weights: str
    origin: str
    run: str
    precision: str

    def same_model(self, other: Binding) -> bool:
        """Whether two galleries, or a gallery and a model, go together."""
        return (self.method, self.config, self.weights) == (other.method, other.config, other.weights)

    def __str__(self) -> str:
        step = "" if self.step is None else f", step {self.step:,}"
        return f"{self.run} ({self.method}{step}, weights {self.weights[:12]})"


@dataclass(frozen=True)
class Manifest:
    """The content of gallery.json.

    Attributes:
        model: what the gallery is bound to. tokens, width: K and D of a crop's features.
        source: what was indexed: "kind", "root" (what paths are relative to; "" where they are absolute), "name", "split".
        basis: the file of the sketch's basis; None where there is no sketch.
        shards: names and sizes. complete: False until the first run has come to its end.
    """

    model: Binding
    tokens: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    source: dict[str, str]
    basis: Annotated[str, Field(pattern=r"^basis-[0-9a-f]{12}\.safetensors$")] | None = None
    shards: tuple[tuple[ShardName, Annotated[int, Field(ge=0)]], ...] = ()
    skipped: Annotated[int, Field(ge=0)] = 0
    complete: bool = False

    @property
    def crops(self) -> int:
        return sum(count for _, count in self.shards)

    def sketch_file(self, shard: str, kind: str) -> str:
        """The name of a shard's file of a kind in SKETCH. One that was made with another basis has another name."""
        basis = (self.basis or "").removeprefix("basis-").removesuffix(".safetensors")
        return f"{shard}.{basis}.{kind}.npy"

    @property
    def files(self) -> set[str]:
        """The names of all files that belong to the gallery."""
        names = {MANIFEST} if self.basis is None else {MANIFEST, self.basis}
        for shard, _ in self.shards:
            names |= {f"{shard}.{kind}" for kind in ("json", "tokens.npy", "crops.jsonl")}
            if self.basis is not None:
                names |= {self.sketch_file(shard, kind) for kind in SKETCH}
        return names


_FORM = TypeAdapter(Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit: from now on the gallery is what this manifest says."""
    write_json(folder / MANIFEST, {"format": FORMAT, "crops": manifest.crops, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a gallery folder, finished or not.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = folder / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
        if json.loads(text)["format"] != FORMAT:
            raise InputError(f"{file} is no gallery of this version of focus (want format {FORMAT}).", ANEW)
        manifest = _FORM.validate_json(text, strict=True)
        if missing := SOURCE - manifest.source.keys():
            raise ValueError(f"source has no {min(missing)}")
        if len(dict(manifest.shards)) < len(manifest.shards):
            raise ValueError("shards has one twice")
        return manifest
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no gallery (no {MANIFEST} in it).", f"Make one with: focus index FOLDER -o {folder}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{file} is damaged: {where}: {first['msg']}.", ANEW) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged: {error!r}.", ANEW) from error


def open_tokens(folder: Path, manifest: Manifest, shard: Shard) -> NDArray[np.float16]:
    """The features [n, K, D] of a shard.

    Raises:
        InputError: missing, truncated or something else.
    """
    shape = (shard.crops, manifest.tokens, manifest.width)
    return open_array(folder / f"{shard.name}.tokens.npy", shape, np.float16)
