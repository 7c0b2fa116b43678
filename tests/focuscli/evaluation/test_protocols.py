"""Both presets decide everything, and every point of facts 3.1 and 3.2 has its decision."""

from __future__ import annotations

from dataclasses import fields

import pytest

from focuscli.errors import UsageError
from focuscli.evaluation.protocols import CORRECTED, DEPARTURES, POAR, PROTOCOLS, protocol_named


def test_every_numbered_point_of_the_facts_is_decided_once():
    numbered = [departure.facts for departure in DEPARTURES if departure.facts.startswith("3.2 #")]
    assert numbered == [f"3.2 #{number}" for number in range(1, 18)]
    rules = {departure.facts for departure in DEPARTURES} - set(numbered)
    assert rules == {
        *(f"3.1 rule {number}" for number in range(1, 5)),
        "3.1 groups",
        "3.1 floor",
        "3.1 region tokens",
        "3.1 text to image",
    }


def test_every_decision_of_a_preset_is_a_listed_departure_and_differs():
    decided = {field.name for field in fields(CORRECTED)} - {"name"}
    assert {departure.field for departure in DEPARTURES} - {None} == decided
    for name in decided:
        assert getattr(CORRECTED, name) != getattr(POAR, name), name
    for departure in DEPARTURES:
        assert departure.what
        assert departure.corrected
        assert departure.poar


def test_presets_by_name():
    assert [protocol_named(name) for name in PROTOCOLS] == [CORRECTED, POAR]
    with pytest.raises(UsageError, match="corrected, poar"):
        protocol_named("fair")
