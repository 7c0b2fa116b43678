"""Schemas: what they say, reading and writing schema.toml, and the targets of texts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focuscli.data.regions import REGIONS, SUBREGIONS
from focuscli.data.schema import (
    Attribute,
    AttributeSchema,
    Group,
    builtin_schema,
    dump_schema,
    load_schema,
    schema_diff,
    schema_remarks,
    text_targets,
)
from focuscli.data.texts import Text
from focuscli.errors import InputError


def test_texts_are_attributes_then_complements_group_by_group(small_schema: AttributeSchema) -> None:
    texts = small_schema.texts(complements=True)
    assert [text.attribute for text in texts] == ["Male", "Backpack", "Hat", "Glasses", None, None, None]
    assert texts[4:] == (
        Text("female", "whole", "thing", "gender", "gender"),
        Text("bare head", "head", "head", "head"),
        Text("nothing on the head", "head", "head", "head"),
    )
    assert [t.attribute for t in small_schema.texts(complements=False, evaluated_only=False)][2] == "Female"


def test_the_fingerprint_is_over_meaning(small_schema: AttributeSchema) -> None:
    first, *rest = small_schema.attributes
    for key in ("title", "source", "image_root", "name", "regions"):
        other = small_schema.model_copy(update={key: ("x",) if key == "regions" else "x"})
        assert (other.fingerprint() != small_schema.fingerprint()) is (key in ("name", "regions"))
    for key, value in (("phrase", "x"), ("evaluated", False), ("column", "x")):
        other = small_schema.model_copy(update={"attributes": (first.model_copy(update={key: value}), *rest)})
        assert (other.fingerprint() != small_schema.fingerprint()) is (key != "column")


def oracle(label: list[int], schema: AttributeSchema, text: Text) -> tuple[float, bool]:
    """Target and known of one image and text, from the definition."""
    values = dict(zip([attribute.name for attribute in schema.attributes], label, strict=True))
    if text.attribute is not None:
        return (1.0, True) if values[text.attribute] == 1 else (0.0, values[text.attribute] == 0)
    group = [values[attribute.name] for attribute in schema.evaluated if attribute.group == text.group]
    if 1 in group:
        return 0.0, True
    return (0.0, False) if 2 in group else (1.0, True)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_targets_equal_a_brute_force_reading(data: st.DataObject, small_schema: AttributeSchema) -> None:
    schema = small_schema
    rows = data.draw(st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5), min_size=1, max_size=6))
    evaluated_only = data.draw(st.booleans())
    labels: NDArray[np.int8] = np.array(rows, np.int8)
    texts = schema.texts(complements=True, evaluated_only=evaluated_only)
    targets, known = text_targets(labels, schema, texts)
    assert targets.dtype == np.float32
    assert known.dtype == np.bool_
    for row, label in enumerate(rows):
        for column, text in enumerate(texts):
            assert (targets[row, column], known[row, column]) == oracle(label, schema, text)


HAT = """
[[attribute]]
name = "hat"
phrase = "a hat"
region = "head"
category = "accessory"
group = "head"
"""
GROUP = 'name = "x"\n[[group]]\nname = "head"\n'
COAT = HAT.replace('"hat"', '"coat"').replace('"a hat"', '"a coat"')

line = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda text: text and text == text.strip())
)


@st.composite
def schemas(draw: st.DrawFn) -> AttributeSchema:
    names = draw(st.lists(line, min_size=1, max_size=6, unique=True))
    count = len(names) + 2
    phrases = draw(st.lists(line, min_size=count, max_size=count, unique_by=lambda p: " ".join(p.lower().split())))
    group_names = draw(st.lists(line, min_size=1, max_size=3, unique=True))
    attributes = []
    for name in names:
        region = draw(st.sampled_from(REGIONS))
        values = {"name": name, "phrase": phrases.pop(), "region": region, "category": draw(line)}
        values |= {"group": draw(st.sampled_from(group_names)), "evaluated": draw(st.booleans())}
        if region == "whole":
            values["subregion"] = draw(st.sampled_from((None, *SUBREGIONS)))
        attributes.append(Attribute(**values))
    evaluated = {attribute.group for attribute in attributes if attribute.evaluated}
    groups = [
        Group(name=name, complements=(phrases.pop(),) if phrases and name in evaluated else ()) for name in group_names
    ]
    text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    texts = {"title": draw(text), "source": draw(text), "image_root": draw(st.none() | line)}
    return AttributeSchema(name=draw(line), groups=tuple(groups), attributes=tuple(attributes), **texts)


@settings(deadline=None, max_examples=80)
@given(schema=schemas(), comment=st.sampled_from(["", "one line", "two\n\nlines"]))
def test_what_is_dumped_reads_back_as_the_same_schema(tmp_path_factory, schema: AttributeSchema, comment: str) -> None:
    text = dump_schema(schema, comment)
    assert "evaluated = true" not in text  # as by default
    path = tmp_path_factory.getbasetemp() / "schema.toml"
    path.write_text(text, encoding="utf-8", newline="")
    again = load_schema(path)
    assert again == schema
    assert again.fingerprint() == schema.fingerprint()
    assert AttributeSchema.model_validate(schema.model_dump(mode="json")) == schema


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ('nmae = "x"\n' + HAT, "name is missing", ""),
        ('name = "x"\nnmae = "x"\n' + HAT, "nmae is no known key", "Did you mean name?"),
        ('name = "x"\n' + HAT + 'regoin = ""\n', 'attribute 1 ("hat"): regoin is no known key', "Did you mean region?"),
        ('name = "x"\n' + COAT + HAT.replace("a hat", " "), 'attribute 2 ("hat"): phrase is empty', ""),
        ('name = "x"\n' + HAT.replace("a hat", r"a\nhat"), "control character", ""),
        ('name = "x"\n' + HAT.replace('group = "head"', ""), 'attribute 1 ("hat"): group is missing', ""),
        ('name = "x"\n' + HAT.replace('"head"\ncat', '"haed"\ncat'), 'has the unknown region "haed" (known: head,', ""),
        ('name = "x"\n' + HAT + HAT.replace("a hat", "cap"), 'attribute "hat" is declared more than once', ""),
        ('name = "x"\n' + HAT + COAT.replace("a coat", "A  HAT"), 'phrase "a hat" is declared more than once', ""),
        ('name = "x"\n' + HAT + COAT + 'column = "hat"\n', 'column "hat" is declared more than once', ""),
        ('name = "x"\n' + HAT + 'subregion = "age"\n', 'subregion is for region "whole" only', ""),
        ('name = "x"\n' + HAT + 'subregion = "ages"\n', 'unknown subregion "ages"', ""),
        ('name = "x"\n' + HAT + "evaluated = 1\n", "evaluated is not valid: Input should be a valid boolean", ""),
        (GROUP.replace("head", "haed") + HAT, 'has the unknown group "head" (known: haed)', ""),
        (GROUP + 'complements = ["A hat"]\n' + HAT, 'phrase "a hat" is declared', ""),
        (GROUP + "complements = [3]\n" + HAT, 'group 1 ("head"): complements is not valid', ""),
        (GROUP + '[[group]]\nname = "h"\ncomplements = ["c"]\n' + HAT, "no evaluated", ""),
        ('name = "x"\n', "no [[attribute]] is declared", ""),
        ('name = "x"\n[attribute]\nname = "hat"\n', "[[attribute]]", ""),
        ('name = "x"\nattribute = [1]\n', "attribute is not valid", ""),
        ('name = "x\n' + HAT, "line 1", "UTF-8"),
        (b'name = "caf\xe9"', "can't decode byte 0xe9", "UTF-8"),
        (None, "No such file", "schema.toml"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str | bytes | None, problem: str, hint: str) -> None:
    path = tmp_path / "schema.toml"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        load_schema(path)
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")


def test_a_byte_order_mark_and_unknown_names(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ('name = "x"\n' + HAT).replace("\n", "\r\n").encode())
    assert [group.name for group in load_schema(path).groups] == ["head"]
    for name in ("nothing", "../specs/peta"):
        with pytest.raises(InputError, match="No built-in schema") as caught:
            builtin_schema(name)
        assert "peta" in (caught.value.hint or "")


def make(name: str, *phrases: str, complements: tuple[str, ...] = ()) -> AttributeSchema:
    attributes = [
        Attribute(name=f"a{number}", phrase=phrase, region="head", category="thing", group="all")
        for number, phrase in enumerate(phrases)
    ]
    return AttributeSchema(
        name=name, groups=(Group(name="all", complements=complements),), attributes=tuple(attributes)
    )


def test_phrases_decide_and_spelling_does_not() -> None:
    source = make("a", "Red  Hat", "bag", complements=("nothing",))
    seen, new, only = schema_diff(source, make("b", "red hat", "Nothing", "shoe"))
    phrases = [(ours.phrase, theirs.phrase) for ours, theirs in seen]
    assert phrases == [("red hat", "Red  Hat"), ("Nothing", "nothing")]
    assert [text.phrase for text in (*new, *only)] == ["shoe", "bag"]
    source = make("a", "hat", "red")
    red = source.attributes[1].model_copy(update={"evaluated": False})
    source = source.model_copy(update={"attributes": (source.attributes[0], red)})
    assert [text.phrase for text in schema_diff(source, source)[1]] == ["red"]
    assert schema_diff(source, source, evaluated_only=True)[1] == []


def test_remarks_and_built_in_schemas() -> None:
    assert any("a single text" in remark for remark in schema_remarks(make("a", "hat")))
    assert any("UpperStride" in remark for remark in schema_remarks(make("a", "UpperStride", "T-shirt")))
    schemas = [builtin_schema(name) for name in ("peta", "pa100k", "rapv1", "synthetic")]
    for first, second in itertools.product(schemas, schemas):
        seen, _, _ = schema_diff(first, second)
        assert seen
        assert all(ours.region == theirs.region for ours, theirs in seen)
        assert schema_remarks(second) == []
