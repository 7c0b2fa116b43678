"""What the benchmark scripts share: timing in turns, ratios within rounds, checks, and the results file.

Candidates take turns, round by round, so that what slows the machine down slows all of them down; a ratio is taken within
each round. Every result is checked: a fast wrong result is worth nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from focuscli.storage.files import write_json
from focuscli.tools import machine

PACKAGES = ("torch", "timm", "torchvision", "open_clip_torch", "clip-anytorch", "transformers", "onnxruntime")
Calls = Mapping[str, Callable[[], object]]


def parser(description: str, *, batch: int, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--model", default="vit-b16", choices=("vit-b16", "tiny"))
    found.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    found.add_argument("--batch", type=int, default=batch, help="images per call")
    found.add_argument("--rounds", type=int, default=rounds, help="rounds that count, after one of warm-up")
    found.add_argument("--threads", type=int, default=1, help="CPU threads of each measured process")
    found.add_argument("--quick", action="store_true", help="2 images, 1 round: shows that it works, not how fast")
    found.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="where to write the results")
    return found


def interleave(calls: Calls, rounds: int, now: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one of warm-up.

    The order is rotated from pair to pair of rounds and reversed in every second one, so that no candidate always comes
    first, or always after the same other.
    """
    names = [*calls]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(1 + rounds):
        turn = (number // 2) % len(names)
        order = names[turn:] + names[:turn]
        for name in reversed(order) if number % 2 else order:
            start = now()
            calls[name]()
            seconds[name].append(now() - start)
    return {name: row[1:] for name, row in seconds.items()}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The values of the rounds with their quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    return {"values": [*values], "lower": low, "median": middle, "upper": high}


def check(what: str, difference: float, bound: float) -> dict[str, Any]:
    """Whether a result is right: the largest difference that was found, and the largest that is allowed."""
    return {"what": what, "difference": difference if difference == difference else 1e9, "bound": bound}


class Results:
    """The measurements of one script; `finish` prints them and writes the file.

    The clock is, of one thread on a CPU, its CPU time, which other processes cannot lengthen; otherwise the wall time.
    """

    def __init__(self, work: str, options: argparse.Namespace) -> None:
        if options.quick:
            options.batch, options.rounds = 2, 1
        self.work, self.options = work, options
        one_thread = options.device == "cpu" and options.threads == 1
        self.clock, self.now = ("cpu", time.process_time) if one_thread else ("wall", self.wall_time)
        self.measurements: list[dict[str, Any]] = []
        self.missing: list[dict[str, str]] = []

    def wall_time(self) -> float:
        if self.options.device != "cpu":
            torch.cuda.synchronize(self.options.device)
        return time.perf_counter()

    def time(self, calls: Calls, unit: str, scale: float, **more: Any) -> None:
        """Time calls in turns and `add` them. A value is seconds * scale, or for a negative scale the rate -scale / seconds."""
        seconds = interleave(calls, self.options.rounds, self.now)
        values = {name: [scale * s if scale > 0 else -scale / s for s in row] for name, row in seconds.items()}
        self.add(values, unit, clock=self.clock, **more)

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

    def skip(self, name: str, reason: str) -> None:
        self.missing.append({"work": self.work, "name": name, "reason": reason})

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
        for gone in self.missing:
            print(f"not measured: {gone['name']}: {gone['reason']}")
        if self.options.output is not None:
            settings = {name: value for name, value in vars(self.options).items() if name not in ("output", "gallery")}
            content = {
                "schema_version": 1,
                "command": " ".join(["python", *sys.argv]),
                "settings": settings,
                "machine": describe_machine(self.options.device, self.options.threads),
                "measurements": self.measurements,
                "missing": self.missing,
            }
            write_json(self.options.output, content)
        return int(failed)


def describe_machine(device: str, threads: int) -> dict[str, Any]:
    """What a reader of the results must know of the machine."""
    versions = {package: machine.installed_version(package) for package in PACKAGES}
    return {
        "cpu": machine.cpu_model(),
        "cores": min(machine.cpu_quota() or machine.usable_cores(), machine.usable_cores()),
        "threads": threads,
        "device": device,
        "device_name": platform.machine() if device == "cpu" else torch.cuda.get_device_name(device),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "packages": {package: version for package, version in versions.items() if version},
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
