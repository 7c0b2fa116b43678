from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focuscli.data.schema import (
    REGIONS,
    SUBREGIONS,
    Attribute,
    AttributeSchema,
    Group,
    builtin_schema,
    dump_schema,
    load_schema,
    parse_schema,
)
from focuscli.errors import InputError

HAT = """
[[attribute]]
name = "hat"
phrase = "a hat"
region = "head"
category = "accessory"
group = "head"
"""
COAT = HAT.replace('"hat"', '"coat"').replace('"a hat"', '"a coat"')

line = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda text: text and text == text.strip())
)


@st.composite
def schemas(draw: st.DrawFn) -> AttributeSchema:
    names = draw(st.lists(line, min_size=1, max_size=6, unique=True))
    count = len(names)
    phrases = draw(
        st.lists(line, min_size=count + 2, max_size=count + 2, unique_by=lambda p: " ".join(p.lower().split()))
    )
    group_names = draw(st.lists(line, min_size=1, max_size=3, unique=True))
    attributes = []
    for name, phrase in zip(names, phrases, strict=False):
        region = draw(st.sampled_from(REGIONS))
        subregion = draw(st.sampled_from((None, *SUBREGIONS))) if region == "whole" else None
        attributes.append(
            Attribute(
                name=name,
                phrase=phrase,
                region=region,
                category=draw(line),
                group=draw(st.sampled_from(group_names)),
                subregion=subregion,
                evaluated=draw(st.booleans()),
            )
        )
    evaluated = {attribute.group for attribute in attributes if attribute.evaluated}
    complements = phrases[count:]
    groups = [
        Group(name=name, complements=(complements.pop(),) if complements and name in evaluated else ())
        for name in group_names
    ]
    text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    return AttributeSchema(
        name=draw(line),
        title=draw(text),
        source=draw(text),
        image_root=draw(st.none() | line),
        groups=tuple(groups),
        attributes=tuple(attributes),
    )


@settings(deadline=None, max_examples=80)
@given(schema=schemas(), comment=st.sampled_from(["", "one line", "two\n\nlines"]))
def test_what_is_dumped_reads_back_as_the_same_schema(schema: AttributeSchema, comment: str) -> None:
    again = parse_schema(dump_schema(schema, comment), "x")
    assert again == schema
    assert again.fingerprint() == schema.fingerprint()
    assert AttributeSchema.model_validate(schema.model_dump(mode="json")) == schema


def test_reads_utf8_with_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ('name = "x"\n' + HAT).replace("\n", "\r\n").encode())
    schema = load_schema(path)
    assert [attribute.name for attribute in schema.attributes] == ["hat"]
    assert [group.name for group in schema.groups] == ["head"]


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ('nmae = "x"\n' + HAT, 'unknown key "nmae"', "name"),
        ('name = "x"\n' + HAT + 'regoin = "head"\n', 'attribute 1 ("hat"): unknown key "regoin"', "region"),
        ('name = "x"\n' + COAT + HAT.replace("a hat", ""), 'attribute 2 ("hat"): phrase is empty', "phrase"),
        ('name = "x"\n' + HAT.replace("a hat", "  "), "phrase is empty", "phrase"),
        ('name = "x"\n' + HAT.replace("a hat", r"a\nhat"), "control character", ""),
        ('name = "x"\n' + HAT.replace('group = "head"', ""), 'key "group" is missing', "group = "),
        ('name = "x"\n' + HAT.replace('"head"\ncat', '"haed"\ncat'), 'unknown region "haed"', "head"),
        ('name = "x"\n' + HAT + HAT.replace("a hat", "cap"), 'attribute "hat" is declared 2 times', ""),
        ('name = "x"\n' + HAT + COAT.replace("a coat", "A  HAT"), 'phrase "a hat" is declared 2 times', ""),
        ('name = "x"\n' + HAT + COAT + 'column = "hat"\n', 'column "hat" is declared 2 times', ""),
        ('name = "x"\n' + HAT + 'subregion = "age"\n', 'subregion is for region "whole" only', ""),
        ('name = "x"\n' + HAT + "evaluated = 1\n", "evaluated", ""),
        ('name = "x"\n[[group]]\nname = "haed"\n' + HAT, 'unknown group "head"', ""),
        ('name = "x"\n[[group]]\nname = "head"\ncomplements = ["A hat"]\n' + HAT, 'phrase "a hat" is declared', ""),
        ('name = "x"\n[[group]]\nname = "head"\n[[group]]\nname = "h"\ncomplements = ["c"]\n' + HAT, "none of", ""),
        ('name = "x"\n', "no [[attribute]] is declared", ""),
        ('name = "x"\n[attribute]\nname = "hat"\n', "[[attribute]]", "brackets"),
        (HAT, 'key "name" is missing', ""),
        ('name = "x\n' + HAT, "line 1", ""),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str, problem: str, hint: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_schema(path)
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")
    assert "pydantic" not in str(caught.value)


def test_a_missing_or_undecodable_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_schema(tmp_path / "schema.toml")
    (tmp_path / "schema.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(InputError, match="not UTF-8"):
        load_schema(tmp_path / "schema.toml")


@pytest.mark.parametrize("name", ["nothing", "../specs/peta", "peta.toml", ""])
def test_there_is_no_built_in_schema_of_another_name(name: str) -> None:
    with pytest.raises(InputError, match="No built-in schema") as caught:
        builtin_schema(name)
    assert "peta" in (caught.value.hint or "")


def test_the_dump_is_plain_toml_without_default_values(small_schema: AttributeSchema) -> None:
    document = tomllib.loads(dump_schema(small_schema))
    assert set(document) == {"name", "regions", "group", "attribute"}
    assert "evaluated" not in document["attribute"][0]
    assert document["attribute"][2]["evaluated"] is False
