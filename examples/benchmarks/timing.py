"""What the benchmark scripts share: timing in turns, ratios within rounds, checks, and the results file.

Candidates take turns, round by round, so that what slows the machine down slows all of them down; a ratio is taken within
each round. Every result is checked: a fast wrong result is worth nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from focuscli.storage.files import write_json
from focuscli.tools import machine

PACKAGES = ("torch", "timm", "torchvision", "open_clip_torch", "clip-anytorch", "transformers", "onnxruntime")
Calls = Mapping[str, Callable[[], object]]


def parser(description: str, *, batch: int, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--batch", type=int, default=batch, help="images per call")
    found.add_argument("--rounds", type=int, default=rounds, help="rounds that count, after one of warm-up")
    found.add_argument("--threads", type=int, default=1, help="CPU threads of each measured process")
    found.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="where to write the results")
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The values of the rounds with their quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    return {"values": [*values], "lower": low, "median": middle, "upper": high}


def check(what: str, difference: float, bound: float) -> dict[str, Any]:
    """Whether a result is right: the largest difference that was found, and the largest that is allowed."""
    return {"what": what, "difference": difference if difference == difference else 1e9, "bound": bound}


class Results:
    """The measurements of one script; `finish` prints them and writes the file.

    The clock is, of one thread, its CPU time, which other processes cannot lengthen; otherwise the wall time.
    """

    def __init__(self, work: str, options: argparse.Namespace) -> None:
        self.work, self.options = work, options
        self.clock, self.now = ("cpu", time.process_time) if options.threads == 1 else ("wall", time.perf_counter)
        self.measurements: list[dict[str, Any]] = []

    def time(self, calls: Calls, unit: str, scale: float, **more: Any) -> None:
        """Time calls and `add` them. A value is seconds * scale, or for a negative scale the rate -scale / seconds.

        The order is rotated from pair to pair of rounds and reversed in every second one, so that no candidate always comes
        first, or always after the same other. The first round is for warm-up.
        """
        names = [*calls]
        values: dict[str, list[float]] = {name: [] for name in names}
        for number in range(1 + self.options.rounds):
            turn = (number // 2) % len(names)
            order = names[turn:] + names[:turn]
            for name in reversed(order) if number % 2 else order:
                start = self.now()
                calls[name]()
                seconds = self.now() - start
                values[name].append(scale * seconds if scale > 0 else -scale / seconds)
        self.add({name: row[1:] for name, row in values.items()}, unit, clock=self.clock, **more)

    def add(
        self,
        values: Mapping[str, Sequence[float]],
        unit: str,
        *,
        clock: str = "",
        compare: Mapping[str, Sequence[str]] | None = None,
        checks: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> None:
        """Add measurements of the same rounds; `compare`: name -> the others that its ratio is taken to, if measured."""
        for name, row in values.items():
            others = [other for other in (compare or {}).get(name, ()) if other in values and other != name]
            pairs = {other: zip(row, values[other], strict=True) for other in others}
            ratios = [{"to": other, "spread": spread([a / b for a, b in pair])} for other, pair in pairs.items()]
            found = {"work": self.work, "name": name, "unit": unit, "spread": spread(row), "clock": clock}
            self.measurements.append({**found, "ratios": ratios, "check": (checks or {}).get(name), "note": note})

    def finish(self) -> int:
        """Print a line per measurement, write the file if one was asked for; 1 if a check failed."""
        failed = False
        for item in self.measurements:
            words = ", ".join(f"{ratio['spread']['median']:.3f} x {ratio['to']}" for ratio in item["ratios"])
            if verdict := item["check"]:
                wrong = verdict["difference"] > verdict["bound"]
                failed |= wrong
                words += f"  {'WRONG' if wrong else 'ok'} ({verdict['difference']:.1e})"
            print(f"{item['name']:50} {item['spread']['median']:10.4g} {item['unit']:10} {words}")
        if self.options.output is not None:
            versions = {package: machine.installed_version(package) for package in PACKAGES}
            described = {
                "cpu": machine.cpu_model(),
                "cores": min(machine.cpu_quota() or machine.usable_cores(), machine.usable_cores()),
                "threads": self.options.threads,
                "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
                "packages": {package: version for package, version in versions.items() if version},
                "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
            content = {
                "schema_version": 1,
                "command": " ".join(["python", *sys.argv]),
                "settings": {name: value for name, value in vars(self.options).items() if name != "output"},
                "machine": described,
                "measurements": self.measurements,
            }
            write_json(self.options.output, content)
        return int(failed)
