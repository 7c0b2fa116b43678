"""Who is drawn: labels by lot, and what stays the same from picture to picture."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from focuscli.data.schema import builtin_schema
from focuscli.data.synthetic.generate import cast_of
from focuscli.data.synthetic.labels import labels_of
from focuscli.data.synthetic.person import Person, restage, sample_person

STAGED = {"view", "yaw", "phase", "stride"}


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    """Every label of 3,000 images; columns as in the schema."""
    rows = [labels_of(person) for _, person in cast_of(3000, 0, "street")]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_labels_are_the_columns_of_the_schema(table: dict[str, np.ndarray]) -> None:
    assert set(table) == {attribute.name for attribute in builtin_schema("synthetic").attributes}


def test_every_evaluated_attribute_is_in_a_tenth_of_the_images(table: dict[str, np.ndarray]) -> None:
    rates = {attribute.name: table[attribute.name].mean() for attribute in builtin_schema("synthetic").evaluated}
    assert min(rates.values()) > 0.09, rates
    assert max(rates.values()) < 0.7, rates


def test_every_colour_occurs(table: dict[str, np.ndarray]) -> None:
    assert all(values.any() for values in table.values())


@pytest.mark.parametrize(
    "group", [("AgeOver60", "Age18-60", "AgeLess18"), ("Front", "Side", "Back"), ("ShortSleeve", "LongSleeve")]
)
def test_exactly_one_of_a_complete_group(table: dict[str, np.ndarray], group: tuple[str, ...]) -> None:
    assert (sum(table[name] for name in group) == 1).all()


def test_a_coat_is_worn_over_trousers_with_long_sleeves(table: dict[str, np.ndarray]) -> None:
    coats = table["LongCoat"] == 1
    assert (table["Trousers"][coats] == 1).all()
    assert (table["LongSleeve"][coats] == 1).all()


def test_nothing_is_labelled_that_cannot_be_seen(table: dict[str, np.ndarray]) -> None:
    back, side = table["Back"] == 1, table["Side"] == 1
    assert not table["Glasses"][back].any()
    assert not table["HoldObjectsInFront"][back].any()
    assert not table["UpperLogo"][side].any()
    assert not table["UpperLogo"][back & (table["Backpack"] == 1)].any()


def test_restaged_people_change_only_view_and_pose() -> None:
    rng = np.random.default_rng(0)
    person = sample_person(rng)
    views = set()
    for _ in range(20):
        other = restage(person, rng)
        views.add(other.view)
        same = {field.name for field in fields(Person)} - STAGED
        assert all(getattr(other, name) == getattr(person, name) for name in same)
    assert views == {"front", "side", "back"}


def test_the_same_seed_gives_the_same_people() -> None:
    assert list(cast_of(30, 4, "street")) == list(cast_of(30, 4, "street"))
    assert list(cast_of(30, 4, "street")) != list(cast_of(30, 5, "street"))


def test_styles_have_people_of_their_own() -> None:
    street = [replace(person, view="front") for _, person in cast_of(30, 0, "street")]
    night = [replace(person, view="front") for _, person in cast_of(30, 0, "night")]
    assert not set(street) & set(night)
