"""What `focus index` has still to do, from what lies in the folder and what is listed now. Pure; imports no torch.

The rules, also for images that came, went or changed since the run that was killed, or since the gallery was finished:

- A crop counts as stored where a shard with a record names its path with the same size and time of change. It is kept.
- A shard some of whose crops are gone or changed is written again without them, from its own rows: nothing is encoded.
- What is listed and not stored (new and changed files) is dealt out, in the order of the list, to new shards.
- A path that two shards name (a run killed between writing a shard and committing) counts in the first of them alone.
- An image that could not be read is not tried again until its file changes.

So no crop is lost and none is there twice, and a run that was killed and resumed with unchanged images gives the same
files, byte for byte, as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from focuscli.errors import InputError
from focuscli.tools.gallery.manifest import MANIFEST, Manifest, open_tokens
from focuscli.tools.gallery.shards import Crop, Shard, read_crops, read_shard, shard_name


@dataclass(frozen=True)
class Stored:
    """A shard in the folder: its record and the crops of its rows."""

    shard: Shard
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Reduction:
    """A shard to be written again with some of its rows only, under another name."""

    stored: Stored
    rows: tuple[int, ...]
    name: str
    shard: Shard


@dataclass(frozen=True)
class Plan:
    """What to do. `fresh`: names and crops of shards to be encoded. The counts are of crops."""

    kept: tuple[Stored, ...]
    reduced: tuple[Reduction, ...]
    fresh: tuple[tuple[str, tuple[Crop, ...]], ...]
    gone: int
    changed: int

    @property
    def names(self) -> list[str]:
        """All shards of the finished gallery, in its order."""
        every = [stored.shard.name for stored in self.kept] + [item.name for item in self.reduced]
        return sorted(every + [name for name, _ in self.fresh])

    @property
    def to_encode(self) -> int:
        return sum(len(crops) for _, crops in self.fresh)

    @property
    def stored(self) -> int:
        """Crops that need not be encoded."""
        return sum(len(item.crops) for item in self.kept) + sum(len(item.rows) for item in self.reduced)


def make_plan(found: Sequence[Stored], crops: Sequence[Crop], size: int) -> Plan:
    """Compare what is stored with what is listed; `size`: crops in a new shard."""
    wanted = {crop.path: crop for crop in crops}
    taken: set[str] = set()
    kept, reduced, changed, gone = [], [], set(), set()

    def good(crop: Crop) -> bool:
        return wanted.get(crop.path) == crop and crop.path not in taken

    for stored in found:
        shard = stored.shard
        every = [*stored.crops, *(item.crop for item in shard.skipped)]
        gone |= {crop.path for crop in every if crop.path not in wanted}
        changed |= {crop.path for crop in every if crop.path in wanted and wanted[crop.path] != crop}
        rows = tuple(row for row, crop in enumerate(stored.crops) if good(crop))
        skipped = tuple(item for item in shard.skipped if good(item.crop))
        if len(rows) + len(skipped) == len(every):
            kept.append(stored)
        elif rows or skipped:
            left = [stored.crops[row] for row in rows]
            name = shard_name(shard.number, [*left, *(item.crop for item in skipped)])
            reduced.append(Reduction(stored, rows, name, Shard(name, len(rows), skipped)))
        else:
            continue
        taken |= {stored.crops[row].path for row in rows} | {item.crop.path for item in skipped}
    used = {stored.shard.number for stored in kept} | {item.shard.number for item in reduced}
    pending = [crop for crop in crops if crop.path not in taken]
    parts = [tuple(pending[start : start + size]) for start in range(0, len(pending), size)]
    fresh = tuple((shard_name(number, part), part) for number, part in zip(_unused(used), parts, strict=False))
    return Plan(tuple(kept), tuple(reduced), fresh, len(gone - taken), len(changed - taken))


def find_stored(folder: Path, manifest: Manifest) -> tuple[list[Stored], list[str]]:
    """The shards in a folder that can be used, the manifest's own first, and why others cannot."""
    listed = [name for name, _ in manifest.shards]
    others = sorted({file.stem for file in folder.glob("[0-9]*-*.json")} - set(listed) - {Path(MANIFEST).stem})
    found, damaged = [], []
    for name in listed + others:
        try:
            shard = read_shard(folder, name)
            open_tokens(folder, manifest, shard)
            found.append(Stored(shard, tuple(read_crops(folder, shard))))
        except InputError as error:
            damaged.append(error.problem)
    return found, damaged


def check_same_images(found: Sequence[Stored], crops: Sequence[Crop], manifest: Manifest, given: str) -> None:
    """Refuse to empty a gallery because another folder was named.

    Raises:
        InputError: the gallery has crops, and none of them is listed.
    """
    stored = {crop.path for item in found for crop in item.crops}
    if stored and not stored & {crop.path for crop in crops}:
        was = manifest.source["root"] or manifest.source["name"]
        raise InputError(
            f"The gallery holds {len(stored):,} crops of {was}, and none of them is in {given}; nothing was changed.",
            "Name the folder that was indexed, or another gallery with -o.",
        )


def _unused(used: set[int]) -> Iterator[int]:
    number = 0
    while True:
        if number not in used:
            yield number
        number += 1
