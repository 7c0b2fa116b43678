"""The majority-class baseline and chance on the official label files: golden values that stand beside every Recall@K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from focuscli.data.folder import DatasetFolder, read_folder
from focuscli.data.prepare import prepare
from focuscli.evaluation.protocols import CORRECTED, POAR, Protocol
from focuscli.evaluation.targets import candidates
from focuscli.metrics import retrieval
from focuscli.metrics.retrieval import Grouped

pytestmark = pytest.mark.data
# Facts of the label files under POAR's rules; Recall@2 counts any positive.
MAJORITY = {"peta": (62.7, 88.2), "pa100k": (66.9, 89.8), "rapv1": (66.6, 85.2)}
CHANCE = {"peta": 32.7, "pa100k": 30.8, "rapv1": 28.1}
GROUPS = {
    "peta": [54.6, 64.6, 85.5, 57.6, 86.1, 51.0, 76.3, 40.8, 31.2, 79.9],
    "pa100k": [61.0, 96.5, 30.4, 72.6, 52.6, 44.1, 78.6, 99.4],
}


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory) -> Callable[..., DatasetFolder]:
    """prepared(name, split=...): the dataset's labels, read from the official file."""

    def make(name: str, **options: str) -> DatasetFolder:
        source = shared_data / name
        if not source.is_dir():
            pytest.skip(f"no {source}")
        out = tmp_path_factory.mktemp("prepared") / name
        prepare(name, source, out, missing="labels-only", **options)
        return read_folder(out)

    return make


def baseline(
    folder: DatasetFolder, protocol: Protocol, recall: Callable[..., Grouped] = retrieval.grouped_recall
) -> tuple[Grouped, Grouped, np.ndarray, list[str]]:
    """Recall of the majority-class baseline in percent on test, chance, truth, and the group of each text."""
    found = candidates(folder.schema, protocol)
    test = found.truth(folder.labels[folder.splits == "test"])[0]
    training = found.truth(folder.labels[np.isin(folder.splits, ("train", "val"))])[0]
    groups = [*found.groups]
    majority, chance = retrieval.majority_scores(training, len(test)), retrieval.grouped_chance(test, groups)
    results = (recall(majority, test, groups), chance)
    percent = [{g: {k: 100 * v for k, v in row.items()} for g, row in result.items()} for result in results]
    return percent[0], percent[1], test, groups


@pytest.mark.parametrize("name", MAJORITY)
def test_the_baseline_and_chance_are_those_of_the_official_files(prepared, name):
    folder = prepared(name)
    recall, chance, test, groups = baseline(folder, POAR)
    assert (recall["mean"]["R@1"], recall["mean"]["R@2"]) == pytest.approx(MAJORITY[name], abs=0.06)
    for group, expected in zip(dict.fromkeys(groups), GROUPS.get(name, []), strict=False):
        assert recall[group]["R@1"] == pytest.approx(expected, abs=0.06), group
    last = baseline(folder, POAR, retrieval.grouped_recall_last_positive)[0]["mean"]
    assert last["R@1"] == recall["mean"]["R@1"]
    assert last["R@2"] < recall["mean"]["R@2"]
    assert chance["mean"]["R@1"] == pytest.approx(CHANCE[name], abs=0.06)

    # Word by word the baseline is at chance: it knows one word of each group.
    macro = baseline(folder, POAR, retrieval.grouped_macro_recall)[0]
    for group in dict.fromkeys(groups):
        there = test[:, [name == group for name in groups]].any(axis=0).sum()
        assert macro[group]["R@1"] == pytest.approx(100 / there)


def test_what_single_decisions_of_poar_change(prepared):
    rapv1, pa100k = prepared("rapv1"), prepared("pa100k")
    recall = baseline(rapv1, replace(POAR, leaked_words=False))[0]["mean"]
    assert (recall["R@1"], recall["R@2"]) == pytest.approx((65.5, 85.2), abs=0.06)
    test = rapv1.labels[rapv1.splits == "test"]
    assert int((test[:, rapv1.schema.index("attach-Other")] == 1).sum()) == 2_442
    assert int((test[:, rapv1.schema.index("Female")] == 2).sum()) == 27
    lost = pa100k.labels[pa100k.splits == "test"][:, pa100k.schema.index("UpperSplice")]
    assert int((lost == 1).sum()) == 447
    partition = baseline(prepared("peta", split="official:4"), POAR)[0]
    assert partition["mean"]["R@1"] == pytest.approx(62.4, abs=0.06)


def test_petas_baseline_is_lower_under_the_corrected_protocol(prepared):
    """Three texts instead of two where neither is labelled, five instead of four kinds of footwear, and so on."""
    recall, chance, test, groups = baseline(prepared("peta"), CORRECTED)
    assert (recall["mean"]["R@1"], recall["mean"]["R@2"]) == pytest.approx((61.67, 86.35), abs=0.01)
    assert chance["mean"]["R@1"] == pytest.approx(28.91, abs=0.01)
    # Of 89 images without an evaluated age 76 are under 16; 13 have no age at all and do not count.
    assert int((~test[:, [group == "age" for group in groups]].any(axis=1)).sum()) == 13
