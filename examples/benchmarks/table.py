"""Results files as a table of targets in Markdown: python examples/benchmarks/table.py FILE.json... -o docs/results/speed.md"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

FASTEST = "the fastest baseline"
INTRODUCTION = """\
# Speed

Made by `python examples/benchmarks/table.py examples/benchmarks/*.json -o docs/results/speed.md` from the results of the scripts
in that folder. Ratios are medians of ratios within interleaved rounds, quartiles in brackets; every result was checked for
correctness. `focus bench` measures a model on your machine.

"""


def read_targets() -> list[dict[str, str]]:
    """The rows of targets.csv: a measurement, or its ratio `to` another one of the same rounds, and what it should reach."""
    with open(Path(__file__).with_name("targets.csv"), newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def cell(target: dict[str, str], runs: list[dict[str, Any]]) -> str:
    """What the last run that measured a target found, and whether that reaches it; "-" if none did."""
    items = [item for run in runs for item in run["measurements"]]
    items = [item for item in items if (item["work"], item["name"]) == (target["work"], target["name"])]
    if not items:
        return "-"
    item = items[-1]
    found = {ratio["to"]: ratio["spread"] for ratio in item["ratios"]} | {"": item["spread"]}
    others = [values for name, values in found.items() if name and not name.startswith("ours")]
    if others:  # the highest ratio is that to the fastest
        found[FASTEST] = max(others, key=lambda values: values["median"])
    if (spread := found.get(target["to"])) is None:
        return "-"
    correct = item["check"] is None or item["check"]["difference"] <= item["check"]["bound"]
    digits = 0 if target["unit"] == "images/s" else 2
    low, middle, high = (f"{spread[key]:,.{digits}f}" for key in ("lower", "median", "upper"))
    sign = -1 if target["limit"] == "at least" else 1
    met = correct and sign * spread["median"] <= sign * float(target["bound"])
    brackets = f" ({low} to {high})" if len(spread["values"]) > 1 else ""
    verdict = ("met" if met else "**not met**") + ("" if correct else ": wrong result")
    return f"{middle} {target['unit']}{brackets}, {verdict}"


def markdown(runs: list[dict[str, Any]]) -> str:
    """One row per target that some run measured, one column per kind of machine; of several runs the last counts."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        kinds.setdefault(run["machine"]["cpu"], []).append(run)
    lines = ["| | target | " + " | ".join(kinds) + " |", "| --- | --- |" + " --- |" * len(kinds)]
    for target in read_targets():
        cells = [cell(target, runs) for runs in kinds.values()]
        if any(text != "-" for text in cells):
            limit = f"{target['limit']} {target['bound']} {target['unit']}"
            lines.append(f"| {target['title']} | {limit} | {' | '.join(cells)} |")
    for kind, runs in kinds.items():
        machine = runs[-1]["machine"]
        size = f"{machine['cores']:g} cores, {machine['memory_gib']:.0f} GiB"
        lines.append(f"\n{kind}: {size}, torch {machine['packages']['torch']}, {machine['date'][:10]}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE.md")
    options = parser.parse_args()
    page = INTRODUCTION + markdown([json.loads(path.read_text(encoding="utf-8")) for path in options.files])
    options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
