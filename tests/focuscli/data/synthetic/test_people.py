"""Who is sampled, and which labels are true of them."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.people import Person, labels_of, sample_people

PEOPLE = sample_people(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    """Every label of 3,000 images."""
    rows = [labels_of(person) for _, person in PEOPLE]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_every_attribute_has_labels_and_none_is_rare(table: dict[str, np.ndarray]) -> None:
    rates = {attribute.name: table[attribute.name].mean() for attribute in builtin_schema("synthetic").evaluated}
    assert min(rates.values()) > 0.09, rates
    assert max(rates.values()) < 0.7, rates
    assert {attribute.name for attribute in builtin_schema("synthetic").attributes} < set(table)
    assert min(values.mean() for values in table.values()) > 0.03, "every colour and detail occurs"


@pytest.mark.parametrize(
    ("group", "equal_to"),
    [
        (("AgeOver60", "Age18-60", "AgeLess18"), None),
        (("Front", "Side", "Back"), None),
        (("ShortSleeve", "LongSleeve"), None),
        (("Trousers", "Shorts", "Skirt", "Dress"), None),
        (("Box", "Folder"), "HoldObjectsInFront"),
        (("FacingLeft", "FacingRight"), "Side"),
        (("Skirt", "Dress"), "Skirt&Dress"),
    ],
)
def test_exactly_one_of_a_group(table: dict[str, np.ndarray], group: tuple[str, ...], equal_to: str | None) -> None:
    assert (sum(table[name] for name in group) == (1 if equal_to is None else table[equal_to])).all()


def test_nothing_is_labelled_that_cannot_be_seen(table: dict[str, np.ndarray]) -> None:
    back, side, coat = (table[name] == 1 for name in ("Back", "Side", "LongCoat"))
    assert not table["Glasses"][back].any()
    assert not table["HoldObjectsInFront"][back].any()
    assert not table["UpperLogo"][side | (back & (table["Backpack"] == 1))].any()
    assert table["Trousers"][coat].all()
    assert table["LongSleeve"][coat].all()


def test_a_person_changes_only_view_and_pose() -> None:
    changing = set()
    for (number, person), (next_number, other) in pairwise(PEOPLE[:300]):
        changed = {field.name for field in fields(Person) if getattr(person, field.name) != getattr(other, field.name)}
        if number == next_number:
            changing |= changed
        else:
            assert changed - {"view", "yaw", "stride"}
    assert changing == {"view", "yaw", "stride"}
    counts = np.bincount([number for number, _ in PEOPLE])[1:-1]
    assert set(counts.tolist()) == {1, 2, 3}
