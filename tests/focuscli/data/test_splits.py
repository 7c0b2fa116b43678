from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.splits import identity_split, shared_persons
from focuscli.errors import InputError

people = st.lists(st.sampled_from(["", *"abcdefgh"]), min_size=4, max_size=60)


@given(persons=people, fraction=st.floats(0.05, 0.45), parts=st.integers(1, 2), seed=st.integers(0, 5))
def test_no_person_is_in_two_splits(persons: list[str], fraction: float, parts: int, seed: int) -> None:
    names, fractions = np.array(persons), {"rest": 0.1, **{f"part {part}": fraction for part in range(parts)}}
    if len(set(persons) - {""}) + persons.count("") < len(fractions):
        with pytest.raises(InputError, match="cannot be divided"):
            identity_split(names, fractions, seed)
        return
    splits = identity_split(names, fractions, seed)
    assert set(splits) == set(fractions)
    assert all(len(set(splits[names == name])) == 1 for name in set(persons) - {""})
    assert identity_split(names, fractions, seed).tolist() == splits.tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_asked_share_is_met_where_persons_are_small(fraction: float) -> None:
    persons, fractions = np.array([f"p{row // 4}" for row in range(1000)]), {"train": 1 - fraction, "val": fraction}
    splits = identity_split(persons, fractions, 0)
    assert abs((splits == "val").sum() - fraction * 1000) <= 4
    assert splits.tolist() != identity_split(persons, fractions, 1).tolist()
    assert (identity_split(np.array([""] * 1000), fractions, 0) == "val").sum() == fraction * 1000


def test_a_person_with_most_images_is_not_held_out_for_a_small_share() -> None:
    persons = np.array(["big"] * 90 + ["a", "b"] * 5)
    splits = identity_split(persons, {"train": 0.98, "val": 0.02}, 0)
    assert (splits == "val").sum() == 5
    assert set(splits[:90]) == {"train"}


def test_shared_persons_are_counted_with_their_images() -> None:
    persons = np.array(["a", "a", "b", "", "a", "a", "c", ""])
    assert shared_persons(persons, np.arange(4), np.arange(4, 8)) == (1, 2, 2)
