"""The benchmark scripts: timing in turns, checks, and the table of their results."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_results_hold_ratios_within_rounds_and_fail_on_a_wrong_result(tmp_path, capsys):
    timing, path = module("timing"), tmp_path / "a.json"
    options = timing.parser("", batch=4, rounds=3).parse_args(["-o", str(path)])
    results = timing.Results("score", options)
    values = {"a": [2.0, 4.0, 9.0], "b": [1.0, 4.0, 3.0]}
    results.add(values, "ms", compare={"a": ["b", "c"]}, checks={"a": timing.check("sums", float("nan"), 0.1)})
    assert results.finish() == 1
    assert "WRONG" in capsys.readouterr().out
    first, second = json.loads(path.read_text())["measurements"]
    assert first["ratios"] == [
        {"to": "b", "spread": {"values": [2.0, 1.0, 3.0], "lower": 1.5, "median": 2.0, "upper": 2.5}}
    ]
    assert (first["spread"]["median"], second["ratios"], second["check"]) == (4.0, [], None)


def test_the_table_of_targets():
    table = module("table")
    page = table.INTRODUCTION + table.markdown([json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))])
    assert page == (ROOT / "docs/results/speed.md").read_text(encoding="utf-8")
    run, target = json.loads((FOLDER / "xeon-2core-encode.json").read_text()), table.read_targets()[0]
    assert table.cell(target, [run]).endswith(", met")
    item = next(item for item in run["measurements"] if item["name"] == "ours fp32")
    item["check"]["difference"] = 1.0
    assert table.cell(target, [run]).endswith("**not met**: wrong result")
    assert table.cell(target, []) == "-"


def test_a_script_runs_and_its_results_are_right(tmp_path):
    path = tmp_path / "data.json"
    line = [sys.executable, str(FOLDER / "data.py"), "--batch", "2", "--rounds", "1", "-o", str(path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())["measurements"]
    assert {"decode, 128x64", "decode, resize (torch) and augment, 224x224"} <= {item["name"] for item in found}
