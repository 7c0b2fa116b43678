"""Schemas: what they say, reading and writing schema.toml, and the targets of texts."""

from __future__ import annotations

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
    guess_schema,
    load_schema,
    parse_schema,
    text_targets,
)
from focuscli.data.texts import Text
from focuscli.errors import InputError


def test_texts_are_attributes_then_complements_group_by_group(small_schema: AttributeSchema) -> None:
    texts = small_schema.texts(complements=True)
    assert [text.attribute for text in texts] == ["Male", "Backpack", "Hat", "Glasses", None, None, None]
    assert [text.phrase for text in texts[4:]] == ["female", "bare head", "nothing on the head"]
    assert texts[4] == Text("female", "whole", "thing", "gender", "gender")
    assert texts[5] == Text("bare head", "head", "head", "head")
    assert len(small_schema.texts(complements=False)) == 4
    assert [t.attribute for t in small_schema.texts(complements=False, evaluated_only=False)][2] == "Female"


@pytest.mark.parametrize("key", ["title", "source", "image_root", "name", "regions", "phrase", "evaluated", "column"])
def test_the_fingerprint_is_over_meaning(small_schema: AttributeSchema, key: str) -> None:
    if key in AttributeSchema.model_fields:
        other = small_schema.model_copy(update={key: (*REGIONS, "hand") if key == "regions" else "other"})
    else:
        value = False if key == "evaluated" else "other"
        changed = small_schema.attributes[0].model_copy(update={key: value})
        other = small_schema.model_copy(update={"attributes": (changed, *small_schema.attributes[1:])})
    meant = key in ("name", "regions", "phrase", "evaluated")
    assert (other.fingerprint() != small_schema.fingerprint()) is meant


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


def test_peta_has_105_attributes_of_which_the_first_35_are_evaluated() -> None:
    schema = builtin_schema("peta")
    assert [attribute.evaluated for attribute in schema.attributes] == [True] * 35 + [False] * 70
    regions = [attribute.region for attribute in schema.evaluated]
    assert [regions.count(region) for region in REGIONS] == [5, 10, 6, 4, 5, 5]
    assert schema.attributes[0].phrase == "between 16 and 30 years old"
    assert sum(attribute.group.endswith(" colour") for attribute in schema.attributes) == 44
    complements = {text.group: text.phrase for text in schema.texts(complements=True) if text.attribute is None}
    assert complements["gender"] == "female"
    assert not complements.keys() & {"accessory", "carrying", "upper"}


def test_a_guessed_schema_has_one_phrase_per_column() -> None:
    schema = guess_schema("x", ["long_hair", "LongHair", "longHair", "___", "---"], "table")
    phrases = [attribute.phrase for attribute in schema.attributes]
    assert phrases == ["long hair", "long hair 2", "long hair 3", "___", "---"]
    assert [group.name for group in schema.groups] == ["hair", "whole"]


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
    text = dump_schema(schema, comment)
    assert "evaluated = true" not in text  # as by default
    again = parse_schema(text, "x")
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
        ('nmae = "x"\n' + HAT, "name is missing", ""),
        ('name = "x"\nnmae = "x"\n' + HAT, "nmae is no known key", "Did you mean name?"),
        (
            'name = "x"\n' + HAT + 'regoin = "head"\n',
            'attribute 1 ("hat"): regoin is no known key',
            "Did you mean region?",
        ),
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
        ('name = "x\n' + HAT, "line 1", "Fix that line."),
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


def test_files_that_cannot_be_read_and_unknown_names_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_schema(tmp_path / "schema.toml")
    (tmp_path / "schema.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(InputError, match="not UTF-8"):
        load_schema(tmp_path / "schema.toml")
    for name in ("nothing", "../specs/peta", ""):
        with pytest.raises(InputError, match="No built-in schema") as caught:
            builtin_schema(name)
        assert "peta" in (caught.value.hint or "")
