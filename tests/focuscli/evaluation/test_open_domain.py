"""Open-domain reports against the pure functions on the checkpoint's own scores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from focuscli.data.folder import read_folder
from focuscli.data.schema import Attribute, AttributeSchema, Group, builtin_schema
from focuscli.evaluation.open_domain import evaluate_open_domain
from focuscli.evaluation.protocols import CORRECTED, POAR
from focuscli.evaluation.targets import open_target
from focuscli.metrics import retrieval
from focuscli.metrics.attributes import average_precision


def attribute(name: str, phrase: str, region: str, group: str, **more: object) -> Attribute:
    return Attribute(name=name, phrase=phrase, region=region, category="thing", group=group, **more)


SCHEMA = AttributeSchema(
    name="other",
    groups=(Group(name="legs", complements=("no legs seen",)), Group(name="head"), Group(name="feet")),
    attributes=(
        attribute("bright", "Bright  trousers", "lower", "legs"),
        attribute("skirt", "skirt", "lower", "legs"),
        attribute("cap", "cap", "head", "head"),
        attribute("hat", "red hat", "head", "head"),
        attribute("boots", "boots", "foot", "feet", evaluated=False),
    ),
)
LABELS = (np.random.default_rng(1).random((72, 5)) < 0.4).astype(np.int8)


def test_the_report_is_what_the_pure_functions_say_of_its_own_scores(recognizer, crops_as):
    target = open_target(crops_as(SCHEMA, LABELS))
    training, test = LABELS[:56], LABELS[56:]
    report = evaluate_open_domain(recognizer, target)
    found = target.candidates
    assert [text.phrase for text in found.texts] == ["Bright  trousers", "skirt", "no legs seen", "cap", "red hat"]
    scores = recognizer.scores(target.paths, [*found.texts, *target.beyond])
    truth = np.c_[test[:, :2], ~test[:, :2].any(axis=1), test[:, 2:4]]
    groups = ["legs", "legs", "legs", "head", "head"]
    assert report.recall == retrieval.grouped_recall(scores[:, :5], truth, groups)
    assert report.macro == retrieval.grouped_macro_recall(scores[:, :5], truth, groups)
    assert report.chance == retrieval.grouped_chance(truth, groups)
    counts = [*training[:, :2].sum(axis=0), (~training[:, :2].any(axis=1)).sum(), *training[:, 2:4].sum(axis=0)]
    assert report.majority == retrieval.grouped_recall(np.tile(counts, (16, 1)), truth, groups)
    assert report.groups["legs"]["images"] == 16
    answer = ["cap", "red hat"][int(counts[4] > counts[3])]
    images = int(truth[:, 3:].any(axis=1).sum())
    assert report.groups["head"] == {"texts": 2, "seen": 1, "images": images, "blind answer": answer}
    precision = average_precision(test, scores[:, [0, 1, 3, 4, 5]])
    assert report.ranking["seen"]["AP"] == pytest.approx(precision[[0, 3]].mean())
    assert report.ranking["unseen"]["AP"] == pytest.approx(precision[[1, 2, 4]].mean())
    assert report.ranking["unseen"]["texts"] == 3
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["blind"] == report.majority
    assert report.means()["source"] == {**report.recall["mean"], "macro R@1": report.macro["mean"]["R@1"]}
    # Seen is decided by phrase.
    assert {row.phrase: (row.seen, row.prompt, row.candidate) for row in report.texts} == {
        "Bright  trousers": (True, "its own", True),
        "skirt": (False, "mean of 2 (lower)", True),
        "no legs seen": (False, "mean of 2 (lower)", True),
        "cap": (False, "mean of 1 (head)", True),
        "red hat": (True, "its own", True),
        "boots": (False, "mean of 3 (all, region unseen)", False),
    }


def test_notes_name_what_misleads(recognizer, crops_as):
    labels = LABELS.copy()
    text = "\n".join(evaluate_open_domain(recognizer, open_target(crops_as(SCHEMA, labels))).notes)
    assert "100 by construction in 1 of 2 groups: head" in text
    assert "regions never trained (foot)" in text
    labels[60, 2] = 2
    own = open_target(crops_as(SCHEMA, labels, "own"), "train")
    assert "also counted 40 of the evaluated images" in "\n".join(own.notes)
    assert "counted as not true: 1 uncertain label" in "\n".join(open_target(own.folder).notes)
    report = evaluate_open_domain(recognizer, open_target(crops_as(SCHEMA, labels, "untrained", ["test"] * 72)))
    assert (report.majority, report.majority_macro) == (None, None)
    assert "no majority-class baseline" in "\n".join(report.notes)


@pytest.fixture
def synthetic_pa100k(crops_as):
    """The coloured crops under PA-100K's names and complements, with random labels."""
    drawn = builtin_schema("synthetic")
    kept = tuple(attribute for attribute in drawn.attributes if attribute.evaluated)
    groups = tuple(group for group in drawn.groups if group.name in {attribute.group for attribute in kept})
    schema = drawn.model_copy(update={"name": "pa100k", "attributes": kept, "groups": groups})
    return crops_as(schema, np.random.default_rng(0).random((72, 26)) < 0.3)


def test_poar_counts_as_poar_and_says_hit_rates(recognizer, make_recognizer, synthetic_pa100k):
    folder = synthetic_pa100k
    target = open_target(folder, protocol=POAR)
    groups = target.candidates.groups
    report = evaluate_open_domain(recognizer, target)
    scores = recognizer.scores(target.paths, target.candidates.texts)
    assert report.recall == retrieval.grouped_recall_last_positive(scores, target.targets, groups)
    assert set(report.ranking) == {"all"}
    assert {"hit@1", "hit@5"} < set(report.ranking["all"])
    assert report.ranking["all"]["texts"] == 26  # words with a label; "male" and the five "other" have none
    assert (report.protocol, len(report.texts)) == ("poar", 33)
    any_positive = open_target(folder, protocol=replace(POAR, recall_at_2="any"))
    assert evaluate_open_domain(recognizer, any_positive).recall["mean"]["R@2"] > report.recall["mean"]["R@2"]
    assert len(evaluate_open_domain(recognizer, open_target(folder)).texts) == 26 + 6

    # Without learned prompts the whole sentence is read, full stop and all.
    plain = make_recognizer(model__rlp=False)
    sentences = [item.sentence for item in target.candidates.items]
    assert "This person is wearing long coat in lower body." in sentences
    own = open_target(folder, protocol=replace(POAR, sentences="own"))
    for opened, inputs in ((target, sentences), (own, target.candidates.texts)):
        scores = plain.scores(target.paths, inputs)
        expected = retrieval.grouped_recall_last_positive(scores, target.targets, groups)
        assert evaluate_open_domain(plain, opened).recall == expected


def test_poar_reads_as_trained_what_was_trained(recognizer, make_recognizer, synthetic_pa100k):
    """POAR tests with the words of its training; so a checkpoint reads what it was trained on in its own words."""
    folder = synthetic_pa100k
    attributes = tuple(
        attribute.model_copy(update={"phrase": "red hat"}) if attribute.name == "Hat" else attribute
        for attribute in folder.schema.attributes
    )
    folder = replace(folder, schema=folder.schema.model_copy(update={"attributes": attributes}))
    for model in (recognizer, make_recognizer(model__rlp=False)):
        rows = {row.attribute: row for row in evaluate_open_domain(model, open_target(folder, protocol=POAR)).texts}
        assert (rows["Hat"].phrase, rows["Hat"].read_as, rows["Hat"].seen) == ("hat", "red hat", True)
        assert not rows["Glasses"].seen
    assert rows["Glasses"].read_as == "This person is accessorying glasses."


def test_poar_says_which_partition_it_would_have_used(coloured_dataset):
    crops = read_folder(coloured_dataset)
    schema = builtin_schema("peta").model_copy(update={"image_root": str(crops.root)})
    folder = replace(crops, schema=schema, labels=np.zeros((72, 105), np.int8))
    for split, said in (("official:0", True), ("official:4", False)):
        prepared = replace(folder, info={"split": split})
        notes = "\n".join(open_target(prepared, protocol=POAR).notes)
        assert ("official:4 of peta; this folder was prepared with official:0" in notes) is said
        assert "official" not in "\n".join(open_target(prepared, protocol=CORRECTED).notes)
