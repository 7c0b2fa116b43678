"""Candidates and their truth: the schema's groups, POAR's words, and every decision in which the protocols differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.evaluation.protocols import CORRECTED, POAR
from focuscli.evaluation.targets import candidates, poar_tables


def schema_of(name: str, *extra: str) -> AttributeSchema:
    """A schema with every attribute that POAR's table of a dataset names; groups and regions do not matter here."""
    words = [word for group in poar_tables()[name]["group"] for word in group["words"]]
    names = [label for _, *labels in words for label in labels if label]
    attributes = [
        Attribute(name=label, phrase=f"phrase of {label}", region="whole", category="thing", group="all")
        for label in dict.fromkeys([*names, *extra])
    ]
    return AttributeSchema(name=name, groups=(Group(name="all"),), attributes=tuple(attributes))


SCHEMAS = {
    "peta": schema_of("peta"),
    "pa100k": schema_of("pa100k"),
    "rapv1": schema_of("rapv1", "attach-Other"),
    "real peta": builtin_schema("peta"),
    "small": AttributeSchema(
        name="small",
        groups=(Group(name="gender", complements=("male",)),),
        attributes=(Attribute(name="F", phrase="female", region="whole", category="gender", group="gender"),),
    ),
}


def true_words(schema: AttributeSchema, protocol, labels: dict[str, int], group: str) -> tuple[set[str], set[str]]:
    """Of an image with these labels, the others 0: the true words of a group, and the unknown ones."""
    row = np.zeros((1, len(schema.attributes)), np.int8)
    for name, value in labels.items():
        row[0, schema.index(name)] = value
    found = candidates(schema, protocol)
    targets, known = found.truth(row)
    members = [z for z, text in enumerate(found.texts) if text.group == group]
    return (
        {found.texts[z].phrase for z in members if targets[0, z]},
        {found.texts[z].phrase for z in members if not known[0, z]},
    )


def test_poars_groups_have_the_sizes_of_its_program():
    for name, sizes in {
        "peta": [2, 8, 2, 5, 2, 5, 2, 4, 5, 4],
        "pa100k": [2, 3, 4, 3, 5, 7, 7, 2],
        "rapv1": [4, 3, 2, 9, 9, 6, 10, 7, 2, 3, 4],
    }.items():
        found = candidates(SCHEMAS[name], POAR)
        assert [found.groups.count(group) for group in dict.fromkeys(found.groups)] == sizes
        assert all(item.sentence.endswith(".") and item.text.phrase in item.sentence for item in found.items)


def test_poars_words_have_places_sentences_and_meanings_in_petas_schema():
    items = {(item.text.group, item.text.phrase): item for item in candidates(builtin_schema("peta"), POAR).items}
    neck, plaid = items["upper body", "VNeck"].text, items["lower body", "Plaid"].text
    assert (neck.region, neck.category, neck.attribute) == ("upper", "clothes", "upperBodyVNeck")
    assert (plaid.region, plaid.category, plaid.attribute) == ("lower", "clothes", None)
    assert items["accessory", "Hat"].sentence == "This person is accessorying Hat."
    assert items["upper body", "VNeck"].sentence == "This person is wearing VNeck in upper body."
    for place, phrase in {
        ("upper style", "Formal"): "formal upper clothes",
        ("hair", "Short"): "short hair",
        ("gender", "Female"): "female",
        ("age", "less fifteen"): "under 16 years old",
        ("lower body", "Plaid"): "plaid trousers or skirt",
    }.items():
        assert items[place].declared.phrase == phrase
    # A group over two groups of the schema has no text for "none of these".
    synthetic = builtin_schema("synthetic").model_copy(update={"name": "pa100k"})
    last = {item.text.group: item.declared for item in candidates(synthetic, POAR).items}
    assert last["foot"].phrase == "low shoes"
    assert last["lower body"] is None  # stripes, patterns and trousers


def test_the_schemas_groups_have_complements_and_evaluated_attributes_only():
    schema = builtin_schema("peta")
    found = candidates(schema, CORRECTED)
    assert [text.phrase for text in found.texts if text.group == "hair"] == ["long hair", "short hair"]
    assert list(dict.fromkeys(found.groups)) == [group.name for group in schema.groups][:10]
    assert set(candidates(schema, CORRECTED, ["hair", "gender"]).groups) == {"hair", "gender"}


@pytest.mark.parametrize(
    ("schema", "protocol", "labels", "group", "true", "unknown"),
    [
        # A complement with a label of its own: corrected asks that label.
        ("real peta", CORRECTED, {"personalLess15": 1}, "age", {"under 16 years old"}, set()),
        ("real peta", CORRECTED, {}, "age", set(), set()),
        ("small", CORRECTED, {}, "gender", {"male"}, set()),
        ("small", CORRECTED, {"F": 1}, "gender", {"female"}, set()),
        ("small", CORRECTED, {"F": 2}, "gender", set(), {"male", "female"}),
        # In a group of two, POAR looks at the first word alone.
        ("peta", POAR, {"upperBodyFormal": 1}, "upper style", {"Formal"}, set()),
        ("peta", POAR, {}, "upper style", {"Formal"}, set()),
        ("peta", POAR, {"upperBodyCasual": 1, "upperBodyFormal": 1}, "upper style", {"Casual"}, set()),
        ("rapv1", POAR, {"Female": 2}, "gender", {"male"}, set()),
        ("rapv1", POAR, {"Female": 1}, "gender", {"female"}, set()),
        # No label at all: "other", "nothing", or no image.
        ("rapv1", POAR, {}, "attach", {"nothing"}, set()),
        ("rapv1", POAR, {}, "action", {"nothing special"}, set()),
        ("rapv1", POAR, {}, "upper body", {"other"}, set()),
        ("rapv1", POAR, {}, "body", set(), set()),
        ("rapv1", POAR, {}, "age", set(), set()),
        ("peta", POAR, {}, "carry", set(), set()),
        ("pa100k", POAR, {}, "accessory", {"other"}, set()),
        ("pa100k", POAR, {"Hat": 1, "Glasses": 1}, "accessory", {"hat", "glasses"}, set()),
        ("pa100k", POAR, {"Hat": 2}, "accessory", {"other"}, {"hat"}),
        # Positives lost to a misspelling.
        ("pa100k", POAR, {"UpperSplice": 1, "LongSleeve": 1}, "upper body", {"long sleeve"}, set()),
        ("pa100k", POAR, {"UpperSplice": 1}, "upper body", {"other"}, set()),
        ("pa100k", replace(POAR, lost_labels=False), {"UpperSplice": 1}, "upper body", {"splice"}, set()),
        # A word that leaks into other groups.
        ("rapv1", POAR, {"attach-Other": 1, "hs-Hat": 1}, "accessory", {"hat", "other"}, set()),
        ("rapv1", replace(POAR, leaked_words=False), {"attach-Other": 1, "hs-Hat": 1}, "accessory", {"hat"}, set()),
        ("rapv1", replace(POAR, leaked_words=False), {"attach-Other": 1}, "attach", {"other"}, set()),
    ],
)
def test_truth(schema, protocol, labels, group, true, unknown):
    assert true_words(SCHEMAS[schema], protocol, labels, group) == (true, unknown)


def test_attach_other_leaks_into_every_group_with_that_word():
    labels = {"attach-Other": 1, "hs-Hat": 1, "ub-Shirt": 1}
    groups = dict.fromkeys(candidates(SCHEMAS["rapv1"], POAR).groups)
    leaks = {group for group in groups if "other" in true_words(SCHEMAS["rapv1"], POAR, labels, group)[0]}
    assert leaks == {"head", "accessory", "upper body", "lower body", "foot", "attach"}
