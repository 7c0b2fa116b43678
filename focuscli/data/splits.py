"""Splits in which no person is on two sides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from focuscli.errors import InputError

UNKNOWN_PERSONS = frozenset({"", "-1", "nan", "none", "null"})


def known_persons(values: Iterable[object]) -> NDArray[np.str_]:
    """Persons [N] as text, and "" for the ids that mean nobody in particular: none and -1. 7.0, as programs write it, is 7."""
    persons = [re.sub(r"(?<=\d)\.0+$", "", str(value).strip()) for value in values]
    unknown = [person.casefold() in UNKNOWN_PERSONS for person in persons]
    return np.where(unknown, "", np.array(persons, np.str_))


def identity_split(persons: NDArray[np.str_], fractions: Mapping[str, float], seed: int) -> NDArray[np.str_]:
    """A split name for each image, so that no person is in two splits and no split is empty.

    Args:
        persons: [N]; "" = unknown; then the image counts as a person of its own.
        fractions: share of the images per split; the first split takes what the others leave over.
        seed: the same seed gives the same result on every machine.

    Raises:
        InputError: fewer persons than splits.
    """
    rest, *others = fractions
    # "" -> a name that no known person has, one per image
    keys = [f"known {name}" if name else f"unknown {number}" for number, name in enumerate(persons.tolist())]
    _, owner, sizes = np.unique(np.array(keys, np.str_), return_inverse=True, return_counts=True)
    if len(sizes) < len(fractions):
        raise InputError(
            f"{len(persons)} images of {len(sizes)} persons cannot be divided into {len(fractions)} parts without a "
            "person in two of them.",
            "Add images of other persons, or give the splits yourself in the column split of labels.csv.",
        )
    queue = np.random.default_rng(seed).permutation(len(sizes)).tolist()
    part_of_person = np.full(len(sizes), rest, dtype=object)
    for number, name in enumerate(others, start=1):
        wanted = max(1, round(fractions[name] * len(persons)))
        spare = len(queue) - (len(fractions) - number)  # every part after this one, and the rest, needs a person too
        taken, left = 0, []
        for person in queue:
            if spare and taken + sizes[person] <= wanted:
                part_of_person[person] = name
                taken += int(sizes[person])
                spare -= 1
            else:
                left.append(person)
        if not taken:  # everybody has more images than this part is to have; take the one with the fewest
            smallest = min(left, key=lambda person: int(sizes[person]))
            left.remove(smallest)
            part_of_person[smallest] = name
        queue = left
    return part_of_person[owner].astype(np.str_)


def shared_persons(
    persons: NDArray[np.str_], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[int, int, int]:
    """How many known persons of `second` are also in `first`, of how many, and in how many images of `second`."""
    theirs = persons[second]
    known = np.unique(theirs[theirs != ""])
    both = np.intersect1d(known, persons[first])
    return len(both), len(known), int(np.isin(theirs, both).sum())
