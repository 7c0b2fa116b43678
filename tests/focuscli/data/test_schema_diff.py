"""Seen and new texts between datasets, by phrase."""

from __future__ import annotations

import pytest

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.data.schema_diff import schema_diff, schema_remarks

NAMES = ("peta", "pa100k", "rapv1", "synthetic")


def make(name: str, *phrases: str, complements: tuple[str, ...] = ()) -> AttributeSchema:
    attributes = [
        Attribute(name=f"a{number}", phrase=phrase, region="head", category="thing", group="all")
        for number, phrase in enumerate(phrases)
    ]
    return AttributeSchema(
        name=name, groups=(Group(name="all", complements=complements),), attributes=tuple(attributes)
    )


def test_phrases_decide_and_spelling_does_not() -> None:
    found = schema_diff(make("a", "Red  Hat", "bag", complements=("nothing",)), make("b", "red hat", "Nothing", "shoe"))
    assert [(ours.phrase, theirs.phrase) for ours, theirs in found.seen] == [
        ("red hat", "Red  Hat"),
        ("Nothing", "nothing"),
    ]
    assert [text.phrase for text in found.new] == ["shoe"]
    assert [text.phrase for text in found.only] == ["bag"]
    source = make("a", "hat", "red")
    red = source.attributes[1].model_copy(update={"evaluated": False})
    source = source.model_copy(update={"attributes": (source.attributes[0], red)})
    assert [text.phrase for text in schema_diff(source, source).new] == ["red"]
    assert schema_diff(source, source, evaluated_only=True).new == []


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_built_in_schemas_divide_into_seen_and_new(source: str, target: str) -> None:
    first, second = builtin_schema(source), builtin_schema(target)
    found = schema_diff(first, second)
    phrases = {text.phrase.lower() for text in second.texts(complements=True, evaluated_only=False)}
    assert len(found.seen) + len(found.new) == len(phrases)
    assert all(ours.region == theirs.region for ours, theirs in found.seen)
    assert found.seen, "some words are common to all"


def test_remarks() -> None:
    lonely = schema_remarks(make("a", "hat"))
    assert any("a single text" in remark for remark in lonely)
    assert not any("a single text" in remark for remark in schema_remarks(make("a", "hat", complements=("none",))))
    assert any("UpperStride" in remark for remark in schema_remarks(make("a", "UpperStride", "T-shirt")))
    for name in NAMES:
        assert schema_remarks(builtin_schema(name)) == [], name
