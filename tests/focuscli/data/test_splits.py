from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focuscli.data.splits import identity_holdout, identity_split, shared_persons
from focuscli.errors import InputError

people = st.lists(st.sampled_from(["", *"abcdefgh"]), min_size=4, max_size=60)


def owners(persons: list[str]) -> int:
    return len(set(persons) - {""}) + persons.count("")


@given(persons=people, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_held_out_images_are_of_other_persons(persons: list[str], fraction: float, seed: int) -> None:
    names = np.array(persons)
    indices = np.arange(len(persons))[::-2]
    if owners(names[indices].tolist()) < 2:
        with pytest.raises(InputError, match="cannot be divided"):
            identity_holdout(names, indices, fraction, seed)
        return
    kept, held = identity_holdout(names, indices, fraction, seed)
    assert sorted([*kept, *held]) == sorted(indices)
    assert 0 < len(kept) < len(indices)
    assert (kept.tolist(), held.tolist()) == (sorted(kept), sorted(held))
    assert not (set(names[kept]) & set(names[held])) - {""}
    assert identity_holdout(names, indices, fraction, seed)[1].tolist() == held.tolist()


@given(persons=people, seed=st.integers(0, 5))
def test_no_person_is_in_two_splits(persons: list[str], seed: int) -> None:
    fractions = {"train": 0.5, "val": 0.1, "test": 0.4}
    if owners(persons) < 3:
        return
    splits = identity_split(np.array(persons), fractions, seed)
    assert set(splits) == {"train", "val", "test"}
    assert all(len(set(splits[np.array(persons) == name])) == 1 for name in set(persons) - {""})


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_asked_share_is_met_where_persons_are_small(fraction: float) -> None:
    persons = np.array([f"p{row // 4}" for row in range(1000)])
    kept, held = identity_holdout(persons, np.arange(1000), fraction, 0)
    assert abs(len(held) - fraction * 1000) <= 4
    assert held.tolist() != identity_holdout(persons, np.arange(1000), fraction, 1)[1].tolist()
    unknown = np.array([""] * 1000)
    assert len(identity_holdout(unknown, np.arange(1000), fraction, 0)[1]) == fraction * 1000
    assert len(kept) + len(held) == 1000


def test_a_person_with_most_images_is_not_held_out_for_a_small_share() -> None:
    persons = np.array(["big"] * 90 + ["a", "b"] * 5)
    kept, held = identity_holdout(persons, np.arange(100), 0.02, 0)
    assert len(held) == 5
    assert "big" in persons[kept]


def test_shared_persons_are_counted_with_their_images() -> None:
    persons = np.array(["a", "a", "b", "", "a", "a", "c", ""])
    assert shared_persons(persons, np.arange(4), np.arange(4, 8)) == (1, 2, 2)
