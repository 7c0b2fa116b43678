"""Hints for misspelt names."""

from __future__ import annotations

import pytest

from focuscli.errors import closest, did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("petta", ["pa100k", "peta"], "Did you mean peta? Known: pa100k, peta."),
        ("cuhk", ["CUHK", "VIPeR"], "Did you mean CUHK? Known: CUHK, VIPeR."),
        ("zzz", ["pa100k", "peta"], "Known: pa100k, peta."),
        ("zzz", [], ""),
        ("item9", [f"item{i}" for i in range(20)], "Did you mean item9? Known: item0, item1, item2, ..."),
    ],
)
def test_the_hint_names_the_nearest_and_the_known_names(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known, limit=3) == hint


def test_closest_ignores_case_and_far_names() -> None:
    assert closest("RUN-A", iter(["run-a", "other"])) == "run-a"
    assert closest("nothing", ["run-a", "other"]) is None
