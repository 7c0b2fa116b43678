"""Damage the files that focus reads, and look for an input that is not either read or refused: `make fuzz`.

Mutants are read by a command in child processes with limits. The table has a row per target; mutants that
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
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads must not be forked
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz import mutate, sandbox, targets

BATCH = 16  # mutants of a child process; if one fails, each is read again in a process of its own
HEADER = ("target", "mutants", *(kind for kind in sandbox.OUTCOMES))


def main() -> int:
    """The number of mutants that were neither accepted nor refused decides the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="focus-fuzz-", dir=options.scratch) as folder:
        part, parts = options.part
        found = [target for target in targets.build(Path(folder), options.real) if options.only in target.name]
        found = found[part - 1 :: parts]
        end = time.monotonic() + options.seconds
        print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER), flush=True)
        total: Counter[str] = Counter()
        for number, target in enumerate(found):
            seconds = (end - time.monotonic()) / (len(found) - number)  # what one target leaves, the others have
            counts = _campaign(target, options.mutants, seconds, options.seed, options.keep)
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

    def outcomes(*mutants: Sequence[mutate.Edit]) -> list[sandbox.Outcome]:
        return sandbox.run(*(partial(target.read, mutate.apply(original, changes)) for changes in mutants))

    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            target.read(original)  # here, so that the children find everything imported
        first = outcomes([])[0]
        if first.kind != "accepted":
            raise RuntimeError(f"the seed of {target.name} is not accepted: {first}")
        while (left := mutants - counts.total()) > 0 and time.monotonic() < end:
            batch = [mutate.edits(original, rng) for _ in range(min(left, BATCH))]
            results = outcomes(*batch)
            if any(result.failed for result in results):
                results = [outcomes(changes)[0] for changes in batch]  # each with limits of its own
            counts.update(result.kind for result in results)
            for changes, result in zip(batch, results, strict=True):
                if result.failed:
                    changes = mutate.reduce(changes, lambda fewer, kind=result.kind: outcomes(fewer)[0].kind == kind)
                    name = f"{target.name}-{result.kind}-{len([*keep.glob('*.why')])}".replace(" ", "_").replace(
                        "/", "_"
                    )
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{name}{target.file.suffix}").write_bytes(mutate.apply(original, changes))
                    words = target.name if callable(target.command) else f"focus {' '.join(target.command)}"
                    (keep / f"{name}.why").write_text(
                        f"{words}\n{str(changes)[:2000]}\n{outcomes(changes)[0].detail}\n"
                    )
    finally:
        target.file.write_bytes(original)
    return counts


def _row(name: str, counts: Counter[str]) -> str:
    cells = [name, f"{counts.total():,}", *(f"{counts[kind]:,}" for kind in sandbox.OUTCOMES)]
    return "| " + " | ".join(cells) + " |"


def _part(text: str) -> tuple[int, int]:
    part, parts = map(int, text.split("/"))
    return part, parts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (default: 60)")
    parser.add_argument("--mutants", type=int, default=2000, help="of each target, at most (default: 2000)")
    parser.add_argument("--only", default="", metavar="WORDS", help="targets with these words in their names")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="1/2", help="every second target, for two processes side by side"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same mutants")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real label files that are used as seeds too")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failing mutants go")
    parser.add_argument("--scratch", type=Path, default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
