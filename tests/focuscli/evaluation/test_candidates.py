"""Candidates and their truth: the schema's groups, POAR's words, and every switch between the presets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.errors import InputError, UsageError
from focuscli.evaluation.candidates import candidates, frequent, poar_partition, poar_tables
from focuscli.evaluation.protocols import CORRECTED, POAR


def schema_of(name: str, *extra: str) -> AttributeSchema:
    """A schema with every attribute that POAR's table of a dataset names; groups and regions are of no account here."""
    words = [word for group in poar_tables()[name]["group"] for word in group["words"]]
    names = [label for _, *labels in words for label in labels if label]
    attributes = [
        Attribute(name=label, phrase=f"phrase of {label}", region="whole", category="thing", group="all")
        for label in dict.fromkeys([*names, *extra])
    ]
    return AttributeSchema(name=name, groups=(Group(name="all"),), attributes=tuple(attributes))


def labels_of(schema: AttributeSchema, *rows: dict[str, int]) -> np.ndarray:
    labels = np.zeros((len(rows), len(schema.attributes)), np.int8)
    for number, row in enumerate(rows):
        for name, value in row.items():
            labels[number, schema.index(name)] = value
    return labels


def true_words(found, labels, group):
    """Per image the true words of a group, and those that are unknown."""
    targets, known = found.truth(labels)
    columns = [z for z, text in enumerate(found.texts) if text.group == group]
    return [
        (
            {found.texts[z].phrase for z in columns if targets[row, z]},
            {found.texts[z].phrase for z in columns if not known[row, z]},
        )
        for row in range(len(labels))
    ]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("peta", [2, 8, 2, 5, 2, 5, 2, 4, 5, 4]),
        ("pa100k", [2, 3, 4, 3, 5, 7, 7, 2]),
        ("rapv1", [4, 3, 2, 9, 9, 6, 10, 7, 2, 3, 4]),
    ],
)
def test_poars_groups_have_the_sizes_of_the_facts(name, sizes):
    found = candidates(schema_of(name, "attach-Other"), POAR)
    assert [found.groups.count(group) for group in dict.fromkeys(found.groups)] == sizes
    assert len(found.sentences) == len(found.texts) == sum(sizes)
    assert all(
        sentence.endswith(".") and text.phrase in sentence
        for text, sentence in zip(found.texts, found.sentences, strict=True)
    )


def test_poars_words_exist_in_the_built_in_schema_with_its_regions():
    found = candidates(builtin_schema("peta"), POAR)
    places = {(text.group, text.phrase): (text.region, text.category, text.attribute) for text in found.texts}
    assert places["upper body", "VNeck"] == ("upper", "clothes", "upperBodyVNeck")
    assert places["lower body", "Plaid"] == ("lower", "clothes", None)
    assert places["hair", "Short"][0] == "head"
    sentences = dict(zip(places, found.sentences, strict=True))
    assert sentences["accessory", "Hat"] == "This person is accessorying Hat."
    assert sentences["upper body", "VNeck"] == "This person is wearing VNeck in upper body."


def test_poars_words_know_what_the_schema_calls_the_same():
    found = candidates(builtin_schema("peta"), POAR)
    declared = {
        (text.group, text.phrase): other.phrase if other else None
        for text, other in zip(found.texts, found.declared, strict=True)
    }
    assert declared["upper style", "Formal"] == "formal upper clothes"
    assert declared["hair", "Short"] == "short hair"
    assert declared["gender", "Female"] == "female"
    assert declared["age", "less fifteen"] == "under 16 years old"
    assert declared["lower body", "Plaid"] == "plaid trousers or skirt"
    drawn = builtin_schema("synthetic").model_copy(update={"name": "pa100k"})
    found = candidates(drawn, POAR)
    other = {text.group: same for text, same in zip(found.texts, found.declared, strict=True)}
    assert other["foot"].phrase == "low shoes"
    # Stripes, patterns and trousers are two groups of the schema: nothing in it means none of all.
    assert other["lower body"] is None


def test_the_schemas_groups_take_complements_and_evaluated_attributes_only():
    schema = builtin_schema("peta")
    found = candidates(schema, CORRECTED)
    assert "upper colour" not in found.groups
    hair = [text.phrase for text in found.texts if text.group == "hair"]
    assert hair == ["long hair", "short hair"]
    assert list(dict.fromkeys(found.groups)) == [group.name for group in schema.groups][:10]


def test_corrected_asks_a_complements_own_label_where_there_is_one():
    schema = builtin_schema("peta")
    labels = labels_of(schema, {"personalLess15": 1}, {}, {"personalLess30": 1})
    assert [words for words, _ in true_words(candidates(schema, CORRECTED), labels, "age")] == [
        {"under 16 years old"},
        set(),
        {"between 16 and 30 years old"},
    ]
    rest = candidates(schema, replace(CORRECTED, complements="rest"))
    assert [words for words, _ in true_words(rest, labels, "age")][1] == {"under 16 years old"}


def test_corrected_does_not_know_where_the_label_is_uncertain():
    schema = AttributeSchema(
        name="small",
        groups=(Group(name="gender", complements=("male",)),),
        attributes=(Attribute(name="F", phrase="female", region="whole", category="gender", group="gender"),),
    )
    found = candidates(schema, CORRECTED)
    words = true_words(found, np.array([[0], [1], [2]], np.int8), "gender")
    assert words == [({"male"}, set()), ({"female"}, set()), (set(), {"male", "female"})]


def test_rule_1_the_first_of_two_words_decides():
    schema = schema_of("peta")
    labels = labels_of(schema, {"upperBodyFormal": 1}, {}, {"upperBodyCasual": 1, "upperBodyFormal": 1})
    poar = [words for words, _ in true_words(candidates(schema, POAR), labels, "upper style")]
    assert poar == [{"Formal"}, {"Formal"}, {"Casual"}]
    own = candidates(schema, replace(POAR, complements="own label"))
    assert [words for words, _ in true_words(own, labels, "upper style")] == [{"Formal"}, set(), {"Casual", "Formal"}]


def test_rule_1_uncertain_gender_is_male_for_poar():
    schema = schema_of("rapv1", "attach-Other")
    labels = labels_of(schema, {"Female": 2}, {"Female": 1}, {})
    poar = true_words(candidates(schema, POAR), labels, "gender")
    assert poar == [({"male"}, set()), ({"female"}, set()), ({"male"}, set())]
    own = true_words(candidates(schema, replace(POAR, complements="own label")), labels, "gender")
    assert own[0] == (set(), {"female", "male"})
    assert own[1:] == poar[1:]


def test_rule_2_with_own_labels_nothing_is_filled_in_beside_an_uncertain_one():
    schema = schema_of("pa100k")
    labels = labels_of(schema, {"Hat": 2}, {"Hat": 2, "Glasses": 1})
    own = candidates(schema, replace(POAR, complements="own label"))
    assert true_words(own, labels, "accessory") == [(set(), {"hat"}), ({"glasses"}, {"hat"})]
    assert true_words(candidates(schema, POAR), labels, "accessory")[0][0] == {"other"}


def test_rule_2_nothing_labelled_means_other_or_nothing_or_no_image():
    rap, peta, pa100k = schema_of("rapv1", "attach-Other"), schema_of("peta"), schema_of("pa100k")
    none = labels_of(rap, {})
    found = candidates(rap, POAR)
    expected = {
        "attach": {"nothing"},
        "action": {"nothing special"},
        "upper body": {"other"},
        "body": set(),
        "age": set(),
    }
    for group, words in expected.items():
        assert true_words(found, none, group) == [(words, set())], group
    assert true_words(candidates(peta, POAR), labels_of(peta, {}), "carry") == [(set(), set())]
    assert true_words(candidates(pa100k, POAR), labels_of(pa100k, {}, {"Hat": 1, "Glasses": 1}), "accessory") == [
        ({"other"}, set()),
        ({"hat", "glasses"}, set()),
    ]


def test_3_splice_is_lost_to_a_misspelling():
    schema = schema_of("pa100k")
    labels = labels_of(schema, {"UpperSplice": 1, "LongSleeve": 1}, {"UpperSplice": 1})
    found = candidates(schema, POAR)
    assert [words for words, _ in true_words(found, labels, "upper body")] == [{"long sleeve"}, {"other"}]
    right = candidates(schema, replace(POAR, lost_labels=False))
    assert [words for words, _ in true_words(right, labels, "upper body")] == [{"long sleeve", "splice"}, {"splice"}]


def test_4_attach_other_leaks_into_the_groups_with_that_word():
    schema = schema_of("rapv1")
    labels = labels_of(schema, {"attach-Other": 1, "hs-Hat": 1, "ub-Shirt": 1})
    found = candidates(schema, POAR)
    leaks = {name for name in dict.fromkeys(found.groups) if "other" in true_words(found, labels, name)[0][0]}
    assert leaks == {"head", "accessory", "upper body", "lower body", "foot", "attach"}
    assert true_words(found, labels, "accessory") == [({"hat", "other"}, set())]
    right = candidates(schema, replace(POAR, leaked_words=False))
    assert true_words(right, labels, "accessory") == [({"hat"}, set())]
    assert true_words(right, labels, "attach") == [({"other"}, set())]


def test_only_some_groups():
    found = candidates(builtin_schema("peta"), CORRECTED, ["hair", "gender"])
    assert set(found.groups) == {"hair", "gender"}
    assert len(found.texts) == len(found.sentences) == 4
    with pytest.raises(UsageError, match='no group "hairs"'):
        candidates(builtin_schema("peta"), CORRECTED, ["hairs"])


def test_a_group_of_one_text_is_refused_with_the_way_out():
    def schema(*complements: str) -> AttributeSchema:
        return AttributeSchema(
            name="mine",
            groups=(Group(name="head", complements=complements), Group(name="legs")),
            attributes=(
                Attribute(name="hat", phrase="hat", region="head", category="thing", group="head"),
                Attribute(name="jeans", phrase="jeans", region="lower", category="thing", group="legs"),
                Attribute(name="shorts", phrase="shorts", region="lower", category="thing", group="legs"),
            ),
        )

    with pytest.raises(InputError, match='group "head" has one text only') as refused:
        candidates(schema(), CORRECTED)
    assert "complements" in str(refused.value)
    assert '--group "legs"' in str(refused.value)
    assert len(candidates(schema(), CORRECTED, ["legs"]).texts) == 2
    assert len(candidates(schema("no hat"), CORRECTED).texts) == 4


def test_poar_knows_three_datasets():
    with pytest.raises(InputError, match="peta, pa100k, rapv1") as refused:
        candidates(builtin_schema("synthetic"), POAR)
    assert "corrected" in str(refused.value)
    assert poar_partition(builtin_schema("peta")) == "official:4"
    assert poar_partition(builtin_schema("synthetic")) is None


def test_the_most_frequent_text_of_each_group():
    found = candidates(builtin_schema("peta"), CORRECTED, ["hair", "gender"])
    assert frequent(found.texts, np.array([3.0, 4.0, 9.0, 8.0])) == {"gender": "female", "hair": "long hair"}
