"""What a plan needs to know of the datasets: which are prepared, with how many images, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from focuscli.errors import InputError
from focuscli.storage import paths


@dataclass(frozen=True)
class Prepared:
    """A dataset that can be trained and tested on.

    Attributes:
        name: as the tables name it. counts: images per split. split: how it was split, as prepare.json says.
        images: whether there are any; a dataset of labels alone has only its blind and chance figures.
    """

    name: str
    folder: Path
    fingerprint: str
    counts: Mapping[str, int]
    split: str | None = None
    images: bool = True


@dataclass(frozen=True)
class LeftOut:
    """What a table needs and the plan does not hold: what, why, and the command that helps, if any."""

    what: str
    why: str
    cure: str | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"; {self.cure}" if self.cure else "")


def survey(names: Iterable[str], places: Mapping[str, str]) -> tuple[dict[str, Prepared], list[LeftOut]]:
    """The datasets of these names: those that are prepared, and those that are not or have no images.

    Args:
        places: name -> folder or name of a prepared dataset, where it is not the one of that name.

    Raises:
        InputError: a place that was named is no dataset.
    """
    found: dict[str, Prepared] = {}
    left_out = []
    for name in names:
        try:
            folder = paths.resolve_dataset(places.get(name, name))
        except InputError:
            if name in places:
                raise
            left_out.append(LeftOut(name, "not prepared", f"focus prepare {name} FOLDER"))
            continue
        found[name] = _look(name, folder)
        if not found[name].images:
            why = "labels alone, no image is there"
            left_out.append(LeftOut(name, why, f"focus prepare {name} FOLDER --force, with the images in FOLDER"))
    return found, left_out


def _look(name: str, path: Path) -> Prepared:
    from focuscli.data.folder import read_folder

    folder = read_folder(path)
    there = not folder.info.get("labels_only") and any(
        folder.image_path(number).is_file() for number in range(len(folder.images))
    )
    split = folder.info.get("split")
    return Prepared(
        name,
        path.resolve(),
        folder.fingerprint,
        folder.counts,
        str(split) if split else None,
        there,
    )
