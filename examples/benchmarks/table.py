"""Results files as a table of targets in Markdown: python examples/benchmarks/table.py FILE.json... -o docs/results/speed.md"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

FASTEST = "the fastest baseline"
INTRODUCTION = """\
# Speed

Made by `python examples/benchmarks/table.py examples/benchmarks/*.json -o docs/results/speed.md` from the results of the scripts
in that folder. Ratios are medians of ratios within interleaved rounds, quartiles in brackets; every result was checked for
correctness. `focus bench` measures a model on your machine.

"""


class Target(NamedTuple):
    """A row: the measurement, what its ratio is taken to ("" for the value itself), the bound, and its unit.

    Rates ("images/s"), recall and `at_least` ratios must reach the bound, all others must not exceed it.
    """

    title: str
    work: str
    name: str
    bound: float
    to: str = ""
    unit: str = "x"
    at_least: bool = False


SCORES, TOWER = "image to 51 scores", "plain image tower"
PADDED, TRIMMED = "text features at length 77", "text features trimmed"
OPENAI, PREDICT, STEP = "OpenAI CLIP fp32", "one image, tiny", "activation memory, full step"
DATA = [
    f"decode{what}, {size}"
    for size in ("224x224", "256x128", "128x64")
    for what in (
        " and resize (pillow)",
        " and resize (torch)",
        ", resize (pillow) and augment",
        ", resize (torch) and augment",
    )
]
TARGETS = [
    Target("CLIP image tower fp32, batch 16, against the fastest other package", "encode", "ours fp32", 1.0, FASTEST),
    Target("the same in bf16, against OpenAI's fp32", "encode", "ours bf16 weights", 0.47, OPENAI),
    Target("the same in ONNX int8, against OpenAI's fp32", "encode", "ours ONNX int8", 0.31, OPENAI),
    Target("256 x 128 input against 224 x 224", "encode", "ours fp32 256x128", 0.7, "ours fp32"),
    Target("image to 51 scores against the plain tower, fp32", "score", f"{SCORES} fp32", 1.06, f"{TOWER} fp32"),
    Target("the same in bf16", "score", f"{SCORES} bf16", 1.06, f"{TOWER} bf16"),
    Target("features of 51 texts padded to length 77, against trimmed ones", "train", PADDED, 3.0, TRIMMED, "x", True),
    Target("training step, batch 32, against a visual-only step", "train", "full step", 1.15, "visual-only step"),
    Target("peak memory of that step", "train", "peak memory, full step", 1.15, "peak memory, visual-only step"),
    Target("activation memory with gradient checkpointing", "train", f"{STEP}, gradient checkpointing", 0.5, STEP),
    *(Target(f"{name}, one core", "data", name, 1000, "", "images/s", True) for name in DATA),
    Target("`focus --help`, CPU time", "startup", "focus --help", 0.3, "", "s"),
    Target("`focus predict`, one image, tiny model", "startup", f"focus predict, {PREDICT}", 0.3, "", "s"),
    Target("the same with `--backend onnx`", "startup", f"focus predict --backend onnx, {PREDICT}", 0.3, "", "s"),
    Target("search of 1,000,000 crops, trained attributes, a query", "search", "trained attributes", 0.2, "", "s"),
    Target("the same, free text, exact", "search", "free text, exact", 16.0, "", "s"),
    Target("the same, free text, `--fast`", "search", "free text, fast", 3.0, "", "s"),
    Target("recall@100 of `--fast`", "search", "fast recall@100", 0.95, "", "", True),
]  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """A results file; ends the program if it is not one."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("schema_version") != 1:
        sys.exit(f"{path} is not a results file of these scripts.")
    return content


def find(target: Target, run: dict[str, Any]) -> tuple[dict[str, Any], bool] | None:
    """The values of a target and whether the result passed its check; None if the run did not measure it."""
    names = {(item["work"], item["name"]): item for item in run["measurements"]}
    item = names.get((target.work, target.name))
    if item is None or (target.unit == "x" and run["settings"]["model"] != "vit-b16"):
        return None
    correct = item["check"] is None or item["check"]["difference"] <= item["check"]["bound"]
    if not target.to:
        return item["spread"], correct
    others = [ratio for ratio in item["ratios"] if ratio["to"] == target.to]
    if target.to == FASTEST:  # the highest ratio is that to the fastest
        others = sorted(
            (r for r in item["ratios"] if not r["to"].startswith("ours")), key=lambda r: -r["spread"]["median"]
        )
    return (others[0]["spread"], correct) if others else None


def cell(target: Target, runs: list[dict[str, Any]]) -> str:
    found = [values for run in runs if (values := find(target, run)) is not None]
    if not found:
        return "-"
    spread, correct = found[-1]
    low, middle, high = (
        f"{spread[key]:,.{0 if target.unit == 'images/s' else 2}f}" for key in ("lower", "median", "upper")
    )
    met = correct and (spread["median"] >= target.bound if target.at_least else spread["median"] <= target.bound)
    brackets = f" ({low} to {high})" if len(spread["values"]) > 1 else ""
    return f"{middle} {target.unit}{brackets}, {'met' if met else '**not met**'}{'' if correct else ': wrong result'}"


def machine_line(kind: str, runs: list[dict[str, Any]]) -> str:
    machine, dates = runs[-1]["machine"], sorted({run["machine"]["date"][:10] for run in runs})
    threads = " or ".join(sorted({str(run["machine"]["threads"]) for run in runs}))
    return (
        f"- {kind}: {machine['cores']:g} cores, {machine['memory_gib']:.0f} GiB, {threads} thread(s), "
        f"torch {machine['packages'].get('torch', '?')}, {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}"
    )


def markdown(runs: list[dict[str, Any]]) -> str:
    """One row per target that some run measured, one column per kind of machine; of several runs the last counts."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if not run["settings"].get("quick"):
            machine = run["machine"]
            kinds.setdefault(machine["cpu"] if machine["device"] == "cpu" else machine["device_name"], []).append(run)
    lines = ["| | target | " + " | ".join(kinds) + " |", "| --- | --- |" + " --- |" * len(kinds)]
    for target in TARGETS:
        cells = [cell(target, runs) for runs in kinds.values()]
        if any(text != "-" for text in cells):
            bound = f"at {'least' if target.at_least else 'most'} {target.bound:,g} {target.unit}".rstrip()
            lines.append(f"| {target.title} | {bound} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(machine_line(kind, runs) for kind, runs in kinds.items())]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE.md", help="default: standard output")
    options = parser.parse_args()
    page = INTRODUCTION + markdown([read(path) for path in options.files])
    if options.output is None:
        print(page, end="")
    else:
        options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
