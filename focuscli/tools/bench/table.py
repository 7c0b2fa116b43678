"""The table of targets and measured figures, in Markdown; also between the markers of a README."""

from __future__ import annotations

from collections.abc import Sequence

from focuscli.errors import InputError
from focuscli.tools.bench.results import Machine, Results
from focuscli.tools.bench.targets import TARGETS, Target, Verdict, judge, shown

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def markdown(results: Sequence[Results]) -> str:
    """One row per target that some run speaks of, one column per kind of machine; then what the machines are.

    Args:
        results: of several runs; those of the same kind of machine share a column, and what is measured in several of them
            comes from the last.

    Raises:
        InputError: none of them was a whole measurement: --quick ones do not count.
    """
    usable = [run for run in results if not run.settings.get("quick")]
    if not usable:
        raise InputError("No results to show: those of --quick do not count.", "Run: focus bench all --output FILE")
    kinds = [*dict.fromkeys(run.machine.kind for run in usable)]
    lines = [
        "| work | target | " + " | ".join(kinds) + " |",
        "| --- | --- |" + " --- |" * len(kinds),
    ]
    for target in TARGETS:
        verdicts = [_last(target, [run for run in usable if run.machine.kind == kind]) for kind in kinds]
        if any(verdict.spread is not None or verdict.reason for verdict in verdicts):
            lines.append(f"| {target.title} | {target.text} | " + " | ".join(cell(target, v) for v in verdicts) + " |")
    lines.append("")
    for kind in kinds:
        lines.append(f"- {kind}: {about([run for run in usable if run.machine.kind == kind])}")
    return "\n".join(lines) + "\n"


def cell(target: Target, verdict: Verdict) -> str:
    """Median, quartiles and the verdict."""
    if verdict.spread is None:
        return f"not measured: {verdict.reason}" if verdict.reason else "-"
    spread = verdict.spread
    text = shown(spread.median, target.unit)
    if len(spread.values) > 1:
        low, high = (shown(value, target.unit).partition(" ")[0] for value in (spread.lower, spread.upper))
        text += f" ({low} to {high})"
    return f"{text}, {'met' if verdict.met else '**not met**'}" + (f": {verdict.reason}" if verdict.reason else "")


def about(runs: Sequence[Results]) -> str:
    """A line on the machine and how it was measured."""
    machine: Machine = runs[-1].machine
    loads = [value for run in runs for value in (run.machine.load_before, run.machine.load_after)]
    dates = sorted({run.machine.date[:10] for run in runs})
    threads = " or ".join(str(count) for count in sorted({run.machine.threads for run in runs}))
    where = f"{machine.cores:g} cores" if machine.device == "cpu" else f"{machine.cpu}, {machine.cores:g} cores"
    return (
        f"{where}, {machine.memory_gib:.0f} GiB, {threads} thread(s) a process, torch "
        f"{machine.packages.get('torch', '?')}, load {min(loads):.1f} to {max(loads):.1f}, "
        f"{dates[0] if len(dates) == 1 else f'{dates[0]} to {dates[-1]}'}. Median of ratios within rounds; quartiles in "
        "brackets."
    )


def insert(page: str, table: str, where: str) -> str:
    """The page with the table between its markers.

    Raises:
        InputError: the markers are not there, or more than once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise InputError(f"{where} has no pair of lines {BEGIN} and {END}.", "Put them where the table is to be.")
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{table}{END}{rest.partition(END)[2]}"


def extract(page: str) -> str | None:
    """What stands between the markers; None without them."""
    if BEGIN not in page or END not in page:
        return None
    return page.partition(BEGIN)[2].partition(END)[0].lstrip("\n")


def _last(target: Target, runs: Sequence[Results]) -> Verdict:
    found = Verdict(None, None)
    for run in runs:
        verdict = judge(target, run)
        if verdict.spread is not None or (found.spread is None and verdict.reason):
            found = verdict
    return found
