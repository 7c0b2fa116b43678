"""Targets and verdicts, and the table of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from focuscli.errors import InputError
from focuscli.tools.bench.results import read_results
from focuscli.tools.bench.table import BEGIN, END, extract, insert, markdown
from focuscli.tools.bench.targets import TARGETS, Target, judge, shown

ROOT = Path(__file__).resolve().parents[4]
SMALLER = next(target for target in TARGETS if target.name == "ours fp32 256x128")
HELP = next(target for target in TARGETS if target.name == "focus --help")


def test_a_ratio_is_judged_by_its_median(results):
    verdict = judge(SMALLER, results)
    assert verdict.spread.median == pytest.approx(0.8)
    assert verdict.met is False
    assert judge(Target("", "encode", SMALLER.name, 0.8001, SMALLER.to), results).met is True


def test_at_least_turns_the_comparison_round(results):
    target = Target("", "encode", SMALLER.name, 0.7, SMALLER.to, at_least=True)
    assert judge(target, results).met is True
    assert target.text == "at least 0.70 x"


def test_a_figure_stands_for_itself(results):
    verdict = judge(HELP, results)
    assert (verdict.spread.median, verdict.met) == (0.15, True)


def test_a_wrong_result_meets_nothing(results):
    verdict = judge(Target("", "encode", "ours ONNX int8", 0.9, "ours fp32"), results)
    assert verdict.spread.median < 0.9
    assert (verdict.met, verdict.reason) == (False, "ours ONNX int8 failed its check")


def test_what_was_not_measured_says_why(results):
    target = Target("", "encode", "ours bf16 weights", 0.47, "OpenAI CLIP fp32")
    assert judge(target, results).reason == "no bf16 instructions"
    assert judge(Target("", "encode", "ours fp32", 1.0, "the fastest rival"), results).reason.startswith("the fastest")


def test_targets_of_another_device_or_model_say_nothing(results):
    for change in ({"device": "cuda"}, {"model": "tiny"}):
        verdict = judge(Target("", "encode", "ours fp32", 100.0, **change), results)
        assert (verdict.spread, verdict.met) == (None, None)


def test_the_issue_is_covered():
    bounds = {(target.work, target.bound) for target in TARGETS}
    assert {
        ("encode", 1.0),
        ("encode", 0.47),
        ("encode", 0.31),
        ("encode", 0.70),
        ("score", 1.06),
        ("train", 3.0),
        ("train", 1.15),
        ("train", 0.5),
        ("train", 0.40),
        ("data", 1000),
        ("startup", 0.3),
        ("search", 10.0),
        ("search", 1.0),
        ("search", 0.95),
        ("search", 0.1),
    } <= bounds


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.956, "x", "0.96 x"),
        (0.4, "share", "40%"),
        (0.012, "share", "1.2%"),
        (1234.5, "images/s", "1,234 images/s"),
        (0.3, "s", "0.30 s"),
    ],
)
def test_figures_as_shown(value, unit, text):
    assert shown(value, unit) == text


def test_the_table_word_for_word(results):
    lines = markdown([results]).splitlines()
    assert lines[0] == "| work | target | A CPU |"
    assert "| 256 x 128 input against 224 x 224 | at most 0.70 x | 0.80 x (0.80 to 0.80), **not met** |" in lines
    assert "| `focus --help`, CPU time | at most 0.30 s | 0.15 s (0.12 to 0.17), met |" in lines
    assert any(line.endswith("| not measured: no bf16 instructions |") for line in lines)
    assert not any("GPU" in line for line in lines)
    assert lines[-1].startswith(
        "- A CPU: 2 cores, 24 GiB, 1 thread(s) a process, torch 2.15.0, load 0.1 to 1.0, 2026-11-23."
    )


def test_runs_of_one_kind_of_machine_share_a_column_and_the_last_counts(results, machine):
    later = results.model_copy(update={"measurements": tuple(m for m in results.measurements if m.work == "startup")})
    slow = later.measurements[0].spread.model_copy(update={"median": 0.4, "values": (0.4,)})
    later = later.model_copy(update={"measurements": (later.measurements[0].model_copy(update={"spread": slow}),)})
    other = results.model_copy(update={"machine": machine.model_copy(update={"cpu": "B CPU"})})
    lines = markdown([results, later, other]).splitlines()
    assert lines[0] == "| work | target | A CPU | B CPU |"
    assert "| `focus --help`, CPU time | at most 0.30 s | 0.40 s, **not met** | 0.15 s (0.12 to 0.17), met |" in lines
    assert any("| 0.80 x (0.80 to 0.80), **not met** | 0.80 x" in line for line in lines)


def test_quick_runs_do_not_count(results):
    quick = results.model_copy(update={"settings": {**results.settings, "quick": True}})
    with pytest.raises(InputError, match="--quick"):
        markdown([quick])
    assert markdown([quick, results]) == markdown([results])


def test_a_page_keeps_everything_but_what_is_between_the_markers():
    page = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    changed = insert(page, "| new |\n", "README.md")
    assert changed == f"# Title\n{BEGIN}\n| new |\n{END}\nrest\n"
    assert insert(changed, "| new |\n", "README.md") == changed
    assert extract(changed) == "| new |\n"


@pytest.mark.parametrize("page", ["nothing", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_one_pair_of_markers_is_refused(page):
    with pytest.raises(InputError, match=r"README\.md has no pair"):
        insert(page, "x", "README.md")


def test_the_readme_shows_what_the_results_files_say():
    files = sorted((ROOT / "examples" / "benchmarks").glob("*.json"))
    if not files:
        pytest.skip("no results file in examples/benchmarks yet")
    shown_there = extract((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown_there == markdown([read_results(path) for path in files]), (
        "focus bench table examples/benchmarks/*.json --readme README.md"
    )
