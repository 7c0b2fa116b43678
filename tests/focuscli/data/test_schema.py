from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focuscli.data.schema import (
    REGIONS,
    AttributeSchema,
    Text,
    builtin_schema,
    region_block_matrix,
    region_names,
    text_targets,
)
from focuscli.errors import InputError


def test_the_description_is_the_papers_example() -> None:
    assert Text("T-shirt", "upper", "clothes", "upper").description == "a upper feature of clothes is T-shirt."


def test_texts_are_attributes_then_complements_group_by_group(small_schema: AttributeSchema) -> None:
    texts = small_schema.texts(complements=True)
    assert [text.attribute for text in texts] == ["Male", "Backpack", "Hat", "Glasses", None, None, None]
    assert [text.phrase for text in texts[4:]] == ["female", "bare head", "nothing on the head"]
    assert texts[4] == Text("female", "whole", "thing", "gender", "gender")
    assert texts[5] == Text("bare head", "head", "head", "head")
    assert len(small_schema.texts(complements=False)) == 4
    assert [t.attribute for t in small_schema.texts(complements=False, evaluated_only=False)][2] == "Female"


def test_index_counts_all_attributes_and_suggests_near_names(small_schema: AttributeSchema) -> None:
    assert small_schema.index("Hat") == 3
    with pytest.raises(InputError) as caught:
        small_schema.index("Hta")
    assert "Hat" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({"title": "other", "source": "other", "image_root": "/elsewhere"}, False),
        ({"name": "other"}, True),
        ({"regions": (*REGIONS, "hand")}, True),
    ],
)
def test_the_fingerprint_is_over_meaning(
    small_schema: AttributeSchema, change: dict[str, object], changes: bool
) -> None:
    assert (small_schema.model_copy(update=change).fingerprint() != small_schema.fingerprint()) is changes


@pytest.mark.parametrize("key", ["name", "phrase", "category", "evaluated", "column"])
def test_the_fingerprint_is_over_attributes_but_not_their_columns(small_schema: AttributeSchema, key: str) -> None:
    value = False if key == "evaluated" else "other"
    changed = small_schema.attributes[0].model_copy(update={key: value})
    other = small_schema.model_copy(update={"attributes": (changed, *small_schema.attributes[1:])})
    assert (other.fingerprint() != small_schema.fingerprint()) is (key != "column")


def test_the_schema_is_frozen(small_schema: AttributeSchema) -> None:
    with pytest.raises(ValueError, match="frozen"):
        small_schema.name = "other"


@given(st.lists(st.sampled_from(["head", "whole/age", "whole/view", "whole", "foot"]), min_size=1, max_size=12))
def test_the_block_matrix_is_one_where_regions_are_equal(places: list[str]) -> None:
    texts = []
    for place in places:
        region, _, subregion = place.partition("/")
        texts.append(Text("p", region, "c", "g", subregion or None))
    for regions in ("coarse", "fine"):
        names = [p.split("/")[0] for p in places] if regions == "coarse" else [p.split("/")[-1] for p in places]
        assert region_names(texts, regions) == names
        blocks = region_block_matrix(texts, regions)
        assert blocks.dtype == np.float32
        for row in range(len(texts)):
            for column in range(len(texts)):
                assert blocks[row, column] == (1.0 if names[row] == names[column] else 0.0)


def _small() -> AttributeSchema:
    place = {"region": "head", "category": "thing"}
    return AttributeSchema.model_validate(
        {
            "name": "small",
            "groups": [
                {"name": "a", "complements": ["none of a", "still none"]},
                {"name": "b", "complements": ["no b"]},
            ],
            "attributes": [
                {"name": "1", "phrase": "1", "group": "a", **place},
                {"name": "2", "phrase": "2", "group": "b", **place},
                {"name": "3", "phrase": "3", "group": "a", "evaluated": False, **place},
                {"name": "4", "phrase": "4", "group": "a", **place},
                {"name": "5", "phrase": "5", "group": "b", "evaluated": False, **place},
            ],
        }
    )


SCHEMA = _small()


def oracle(label: list[int], schema: AttributeSchema, text: Text) -> tuple[float, bool]:
    """Target and known of one image and text, from the definition."""
    values = dict(zip([attribute.name for attribute in schema.attributes], label, strict=True))
    if text.attribute is not None:
        return (1.0, True) if values[text.attribute] == 1 else (0.0, values[text.attribute] == 0)
    group = [values[attribute.name] for attribute in schema.evaluated if attribute.group == text.group]
    if 1 in group:
        return 0.0, True
    return (0.0, False) if 2 in group else (1.0, True)


@settings(deadline=None)
@given(data=st.data())
def test_targets_equal_a_brute_force_reading(data: st.DataObject) -> None:
    schema = SCHEMA
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


def test_peta_phrases_are_words_and_not_camel_case() -> None:
    for text in builtin_schema("peta").texts(complements=True, evaluated_only=False):
        assert not any(low.islower() and up.isupper() for low, up in zip(text.phrase, text.phrase[1:], strict=False))
        assert not text.phrase.endswith(".")
