"""A dataset's split as the target of open-domain evaluation: texts and truth under a protocol, before any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focuscli.data.folder import DatasetFolder
from focuscli.data.schema import Text, text_targets
from focuscli.errors import InputError
from focuscli.evaluation.candidates import Candidates, candidates, poar_partition
from focuscli.evaluation.protocols import CORRECTED, Protocol


@dataclass(frozen=True, eq=False)
class Target:
    """A dataset's split as the protocol sees it, before any model.

    Attributes:
        candidates: Z of them; targets, known: [N, Z] for the images at `indices`.
        training: [M, Z] targets of the train and val images, in which the majority-class baseline counts words.
        beyond: attributes outside the evaluation, with truth [N, B].
    """

    folder: DatasetFolder
    split: str
    indices: NDArray[np.int64]
    candidates: Candidates
    targets: NDArray[np.float32]
    known: NDArray[np.bool_]
    training: NDArray[np.float32]
    beyond: tuple[Text, ...]
    beyond_truth: tuple[NDArray[np.float32], NDArray[np.bool_]]
    notes: list[str]

    @property
    def has_images(self) -> bool:
        """Whether there are images to score. A dataset of labels alone still has the baselines.

        Raises:
            InputError: the dataset has images, and not one file exists.
        """
        if self.folder.labels_only:
            return False
        paths = (self.folder.image_path(int(index)) for index in self.indices)
        if not any(path.is_file() for path in paths):
            first = self.folder.image_path(int(self.indices[0]))
            raise InputError(
                f"None of the {len(self.indices):,} {self.split} images of {self.folder.schema.name} exists "
                f"(first: {first}).",
                f"Put them there, or correct image_root in {self.folder.path / 'schema.toml'}.",
            )
        return True


def open_target(
    folder: DatasetFolder, split: str = "test", protocol: Protocol = CORRECTED, groups: Sequence[str] | None = None
) -> Target:
    """Texts and truth of a target dataset, with every refusal that needs no model.

    Args:
        groups: names of the groups to keep; None: all.

    Raises:
        InputError: no such split, a group with one text only, POAR's words for a dataset that it does not know.
        UsageError: an unknown group.
    """
    found = candidates(folder.schema, protocol, groups)
    if not found.texts:
        raise InputError(
            f"{folder.path / 'schema.toml'} declares no evaluated attribute; there is nothing to retrieve."
        )
    indices = folder.select(split)
    targets, known = found.truth(folder.labels[indices])
    counted = np.flatnonzero(np.isin(folder.splits, ("train", "val")))
    training = found.truth(folder.labels[counted])[0]
    named = {text.attribute for text in found.texts}
    every = folder.schema.texts(complements=False, evaluated_only=False)
    beyond = tuple(text for text in every if text.attribute not in named) if protocol.beyond and not groups else ()
    notes = _target_notes(folder, found, known, np.intersect1d(indices, counted), len(counted))
    truth = text_targets(folder.labels[indices], folder.schema, beyond)
    return Target(folder, split, indices, found, targets, known, training, beyond, truth, notes)


def _target_notes(
    folder: DatasetFolder, found: Candidates, known: NDArray[np.bool_], trained: NDArray[np.int64], counted: int
) -> list[str]:
    notes = []
    sizes = {name: found.groups.count(name) for name in found.groups}
    two = [name for name, size in sizes.items() if size == 2]
    if two:
        notes.append(f"R@2 is 100 by construction in {len(two)} of {len(sizes)} groups: {', '.join(two)}")
    if not counted:
        notes.append(f"no image of {folder.schema.name} is in train or val, so there is no majority-class baseline")
    elif len(trained):
        notes.append(f"the majority-class baseline also counted {len(trained):,} of the evaluated images")
    if not known.all():
        notes.append(f"{int((~known).sum()):,} uncertain labels count as not true")
    wanted = poar_partition(folder.schema) if found.protocol.partition == "poar" else None
    if wanted is not None and (split := folder.info.get("split")) != wanted:
        notes.append(f"POAR's program uses {wanted} of {folder.schema.name}; this folder was prepared with {split}")
    return notes
