"""Damage the files that focus reads, and look for an input that is not either read or refused: `make fuzz`.

Each mutant is read by a command in a child process of its own, with limits. The table has a row per target; mutants that
were neither accepted nor refused are reduced and kept, with what was said, in the folder --keep.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads must not be forked
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz import mutate, sandbox, targets

HEADER = ("target", "mutants", *(kind for kind in sandbox.OUTCOMES))


def main() -> int:
    """The number of mutants that were neither accepted nor refused decides the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="focus-fuzz-", dir=options.scratch) as folder:
        found = [target for target in targets.build(Path(folder), options.real) if options.only in target.name]
        each = options.seconds / max(1, len(found))
        print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER), flush=True)
        total: Counter[str] = Counter()
        for target in found:
            counts = _campaign(target, options.mutants, each, options.seed, options.keep)
            total.update(counts)
            print(_row(target.name, counts), flush=True)
        print(_row("all", total))
    bad = total.total() - total["accepted"] - total["refused"]
    if bad:
        print(f"{bad} mutants were neither accepted nor refused; see {options.keep}", file=sys.stderr)
    return 1 if bad else 0


def _campaign(target: targets.Target, mutants: int, seconds: float, seed: int, keep: Path) -> Counter[str]:
    """Run so many mutants of a target, or as many as the time allows."""
    original = target.file.read_bytes()
    rng = random.Random(f"{seed} {target.name}")
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def outcome(changes: Sequence[mutate.Edit]) -> sandbox.Outcome:
        target.file.write_bytes(mutate.apply(original, changes))
        return target.attempt()

    try:
        target.warm_up()
        first = outcome([])
        if first.kind != "accepted":
            raise RuntimeError(f"the seed of {target.name} is not accepted: {first}")
        while counts.total() < mutants and time.monotonic() < end:
            changes = mutate.edits(original, rng)
            result = outcome(changes)
            counts[result.kind] += 1
            if result.failed:
                changes = mutate.reduce(changes, lambda fewer, kind=result.kind: outcome(fewer).kind == kind)
                name = f"{target.name}-{result.kind}-{counts[result.kind]}".replace(" ", "_").replace("/", "_")
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{name}{target.file.suffix}").write_bytes(mutate.apply(original, changes))
                words = target.name if callable(target.command) else f"focus {' '.join(target.command)}"
                (keep / f"{name}.why").write_text(f"{words}\n{changes}\n{outcome(changes).detail}\n")
    finally:
        target.file.write_bytes(original)
    return counts


def _row(name: str, counts: Counter[str]) -> str:
    cells = [name, f"{counts.total():,}", *(f"{counts[kind]:,}" for kind in sandbox.OUTCOMES)]
    return "| " + " | ".join(cells) + " |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (default: 60)")
    parser.add_argument("--mutants", type=int, default=2000, help="of each target, at most (default: 2000)")
    parser.add_argument("--only", default="", metavar="WORDS", help="targets with these words in their names")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same mutants")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real label files that are used as seeds too")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failing mutants go")
    parser.add_argument("--scratch", type=Path, default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
