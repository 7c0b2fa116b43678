"""`focus bench` as a command."""

from __future__ import annotations

import pytest

from focuscli.tools.bench import onnx
from focuscli.tools.bench.results import Check, Outcome, read_results, single


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """No export, and the environment as it was afterwards."""
    monkeypatch.setattr(onnx, "NEEDED", ("no_such_module_here",))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def test_a_quick_run_shows_figures_with_checks_and_writes_the_file(focus, tmp_path):
    path = tmp_path / "a.json"
    outcome = focus("bench", "encode", "--model", "tiny", "--quick", "--output", path)
    assert outcome.code == 0, outcome.stderr
    row = next(line for line in outcome.stdout.splitlines() if "ours fp32 128x32" in line)
    assert "x ours fp32" in row
    assert row.rstrip().endswith("ok")
    assert "1 thread a process" in outcome.stderr
    assert "not measured: timm fp32" in outcome.stderr
    assert "load" in outcome.stderr
    assert read_results(path).settings["quick"] is True


def test_json_on_stdout_is_the_results_file(focus):
    outcome = focus("bench", "score", "--model", "tiny", "--quick", "--rounds", 1, "--json")
    assert outcome.code == 0
    assert outcome.json["schema_version"] == 1
    assert {item["work"] for item in outcome.json["measurements"]} == {"score"}


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_wrong_result_exits_with_5_and_is_still_written(focus, monkeypatch, tmp_path, flags):
    from focuscli.tools.bench import score

    wrong = single("score", "x", "ms", [1.0], check=Check(what="features", difference=1.0, bound=1e-5))
    monkeypatch.setattr(score, "measure", lambda *_: Outcome(measurements=(wrong,)))
    path = tmp_path / "a.json"
    outcome = focus("bench", "score", "--quick", "--model", "tiny", f"--output={path}", *flags)
    assert outcome.code == 5
    assert read_results(path).failed
    if flags:
        assert outcome.json["error"]["code"] == 5
        assert outcome.json["measurements"]
    else:
        assert "1 of 1 figures failed" in outcome.stderr
        assert "> 1e-05" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cook"], 'Unknown work "cook"'),
        (["encode", "file"], "reads no files"),
        (["encode", "--model", "huge"], 'Unknown model "huge"'),
        (["encode", "--precision", "int4"], 'Unknown precision "int4"'),
        (["encode", "--readme", "README.md"], "--readme belongs to focus bench table"),
        (["score", "--checkpoint", "x"], "belong to focus bench encode"),
        (["encode", "--dataset", "peta"], "wants a --checkpoint"),
        (["table"], "wants results files"),
        (["encode", "--rounds", "0"], "rounds"),
        ([], "WORK"),
    ],
)
def test_wrong_usage_is_one_message(focus, arguments, words):
    outcome = focus("bench", *arguments)
    assert outcome.code == 2
    assert words in outcome.stderr
    assert outcome.stdout == ""


def test_a_file_that_is_there_is_kept(focus, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("mine")
    outcome = focus("bench", "score", "--quick", "--model", "tiny", "--output", path)
    assert outcome.code == 3
    assert "exists already" in outcome.stderr
    assert path.read_text() == "mine"


def test_unsupported_precision_and_device_are_missing_requirements(focus):
    assert focus("bench", "encode", "--precision", "fp16", "--device", "cpu").code == 4
    assert focus("bench", "encode", "--device", "cuda:7").code == 4


def test_the_table_goes_to_stdout_or_into_a_page(focus, tmp_path, monkeypatch):
    from focuscli.tools.bench import score

    figure = single("score", "image to 51 scores fp32", "ms", [1.0])
    monkeypatch.setattr(score, "measure", lambda *_: Outcome(measurements=(figure,)))
    path, page = tmp_path / "a.json", tmp_path / "README.md"
    assert focus("bench", "score", "--output", path).code == 0
    table = focus("bench", "table", path)
    assert table.code == 0
    assert table.stdout.startswith("| work | target |")
    assert "plain image tower fp32 was not measured" in table.stdout
    page.write_text("a\n<!-- bench:begin -->\n<!-- bench:end -->\nb\n")
    assert focus("bench", "table", path, "--readme", page).code == 0
    assert page.read_text() == f"a\n<!-- bench:begin -->\n{table.stdout}<!-- bench:end -->\nb\n"
    assert focus("bench", "table", tmp_path / "none.json").code == 3
    assert focus("bench", "table", path, "--readme", tmp_path / "none.md").code == 3
