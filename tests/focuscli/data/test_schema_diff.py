"""Seen and new texts between datasets, by phrase."""

from __future__ import annotations

import itertools

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.data.schema_diff import schema_diff, schema_remarks


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


def test_remarks_and_built_in_schemas() -> None:
    assert any("a single text" in remark for remark in schema_remarks(make("a", "hat")))
    assert any("UpperStride" in remark for remark in schema_remarks(make("a", "UpperStride", "T-shirt")))
    schemas = [builtin_schema(name) for name in ("peta", "pa100k", "rapv1", "synthetic")]
    for first, second in itertools.product(schemas, schemas):
        found = schema_diff(first, second)
        assert found.seen
        assert all(ours.region == theirs.region for ours, theirs in found.seen)
        assert schema_remarks(second) == []
