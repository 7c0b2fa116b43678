"""Figures from seconds, and the file that holds them."""

from __future__ import annotations

import json

import pytest

from focuscli.errors import InputError
from focuscli.tools.bench.results import Check, Results, read_results, timed, write_results


def test_figures_and_ratios_from_seconds():
    first, second = timed(
        "encode",
        {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.0, 2.0]},
        unit="ms/image",
        scale=1000 / 4,
        clock="cpu",
        compare={"a": ["b", "nobody", "a"]},
        notes={"b": "batch 4"},
    )
    assert first.spread.values == (250, 500, 1000)
    assert first.spread.median == 500
    assert first.ratio_to("b").values == (0.5, 1.0, 2.0)
    assert first.ratio_to("b").median == 1.0
    assert [ratio.to for ratio in first.ratios] == ["b"]
    assert first.ratio_to("nobody") is None
    assert (second.ratios, second.note) == ((), "batch 4")


def test_rates_are_work_over_seconds_and_so_are_their_ratios():
    slow, fast = timed(
        "data", {"slow": [2.0], "fast": [0.5]}, unit="images/s", scale=-32, clock="cpu", compare={"fast": ["slow"]}
    )
    assert slow.spread.values == (16,)
    assert fast.spread.values == (64,)
    assert fast.ratio_to("slow").median == 4


def test_a_check_holds_up_to_its_bound():
    assert Check(what="x", difference=1e-5, bound=1e-5).passed
    assert not Check(what="x", difference=1.1e-5, bound=1e-5).passed


def test_failed_are_those_with_a_check_that_does_not_hold(results):
    assert [item.name for item in results.failed] == ["ours ONNX int8"]


def test_a_file_comes_back_as_it_was(results, tmp_path):
    write_results(tmp_path / "a.json", results)
    assert read_results(tmp_path / "a.json") == results
    assert json.loads((tmp_path / "a.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no readable JSON"),
        ("[]", "schema_version is None"),
        ('{"schema_version": 2}', "schema_version is 2, not 1"),
        ('{"schema_version": 1}', "command: Field required"),
    ],
)
def test_another_file_is_refused_with_a_reason(content, words, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        read_results(path)


def test_no_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(InputError, match="focus bench all --json FILE"):
        read_results(tmp_path / "none.json")


def test_figures_that_are_no_numbers_cannot_be_in_a_file(results):
    broken = results.model_dump(mode="json")
    broken["measurements"][0]["spread"]["median"] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        Results.model_validate(broken)
