"""Kill commands at random moments with SIGKILL, repeat them as a user would, and compare with a run that was left alone.

    python tests/fuzz/kills.py --train 25 --index 25 --prepare 10 --export 10

After each kill the command is repeated (`--resume` or `--force` where its output exists) and has to give equal files; nothing
temporary may be left. Prints a table; the exit code is 1 if a row has a loss.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

TRAIN = "train -q -d synthetic --model tiny --weights none --device cpu --threads 1 --batch-size 8 --epochs 4"
TRAIN += " --set model.image_size=32,16 --set augment.margin=2 --set train.save_every_steps=1 --run"


class Case(NamedTuple):
    """A command that writes `output`, what repeats it where that exists, and what has to be equal afterwards."""

    name: str
    command: str
    output: Path
    again: str
    content: Callable[[Path], object]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("train", 25), ("index", 25), ("prepare", 10), ("export", 10)):
        parser.add_argument(f"--{name}", type=int, default=count, help=f"kills (default: {count})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lost = 0
    print("| command | kills | before its output | while it existed | equal afterwards | lost |\n|" + " --- |" * 6)
    with tempfile.TemporaryDirectory(prefix="focus-kills-") as folder:
        root = Path(folder)
        os.environ |= {"FOCUS_HOME": str(root / "home"), "FOCUS_RUNS": str(root / "runs"), "OMP_NUM_THREADS": "1"}
        run("prepare synthetic -q --images 40")
        for case in cases(root):
            lost += campaign(case, getattr(options, case.name), random.Random(f"{options.seed} {case.name}"))
    return 1 if lost else 0


def cases(root: Path) -> list[Case]:
    data, trained, kept = root / "home/datasets/synthetic", root / "trained", root / "kept"
    run(f"{TRAIN} {kept}")
    prepare = f"prepare csv {data}/labels.csv --images {data} -q --out {root / 'prepared'}"
    export = f"export -q -c {kept} -o {root / 'model.onnx'}"
    index = f"index -q {data}/images -c {kept} --device cpu --part-size 4 --batch 2 -o {root / 'gallery'}"
    return [
        Case("train", f"{TRAIN} {trained}", trained, f"train -q --resume --run {trained}", of_run),
        Case("index", index, root / "gallery", f"{index} --resume", of_gallery),
        Case("prepare", prepare, root / "prepared", f"{prepare} --force", of_folder),
        Case("export", export, root / "model.onnx", f"{export} --force", lambda file: digest(file)),
    ]


def campaign(case: Case, kills: int, rng: random.Random) -> int:
    """Print the row of a case; returns how many kills lost something."""
    if not kills:
        return 0
    started = time.monotonic()
    run(case.command)
    seconds, wanted, existed, lost = time.monotonic() - started, case.content(case.output), 0, 0
    for _ in range(kills):
        # Every other kill hits a command that replaces or goes on with an output that is there.
        replace = case.name in ("prepare", "export") and rng.random() < 0.5
        if not replace:
            remove(case.output)
        process = start(case.again if replace else case.command)
        time.sleep(rng.uniform(0.2, 0.95) * seconds)
        process.kill()
        process.wait()
        there = exists(case)
        existed += there
        try:
            if replace and case.content(case.output) != wanted:
                raise RuntimeError("what was there before is not there any more")
            run(case.again if there else case.command)
            if case.content(case.output) != wanted:
                raise RuntimeError("the result is another one")
            if left := [path for path in case.output.parent.rglob("*") if path.suffix in (".tmp", ".old")]:
                raise RuntimeError(f"left behind: {left}")
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            lost += 1
            print(f"{case.name}: {error}", file=sys.stderr)
            remove(case.output)
    print(f"| {case.name} | {kills} | {kills - existed} | {existed} | {kills - lost} | {lost} |", flush=True)
    return lost


def exists(case: Case) -> bool:
    """Whether the output has come into being, so that a user would go on with it."""
    if case.name == "train":
        return (case.output / "config.toml").is_file()
    return (case.output / "gallery.json").is_file() if case.name == "index" else case.output.exists()


def start(line: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "focuscli", *line.split()], stderr=subprocess.PIPE)


def run(line: str) -> None:
    process = start(line)
    words = process.communicate()[1].decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"focus {line}: exit code {process.returncode}\n{words}")


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def of_folder(folder: Path) -> object:
    return {file.name: digest(file) for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")}


def of_run(run: Path) -> object:
    """The weights, the optimizer's state, and the epochs without their times."""
    state = run / "checkpoints/last"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tensors = {file.name: digest(file) for file in state.glob("*.safetensors") if not file.name.startswith(".")}
    return tensors, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def of_gallery(folder: Path) -> object:
    """Every crop with its features, whatever part it is in."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = {}
    for file in folder.glob("crops-*.parquet"):
        tokens = np.load(file.with_name(f"{file.stem.replace('crops', 'tokens')}.npy"))
        crops = pq.read_table(file)
        # The time of change of an image is in nanoseconds, which Python has no type for.
        for row in crops.select(
            [field.name for field in crops.schema if not pa.types.is_timestamp(field.type)]
        ).to_pylist():
            found[row.pop("path")] = (
                tokens[row.pop("row")].tobytes(),
                [row[key] for key in sorted(row) if key != "part"],
            )
    return found


if __name__ == "__main__":
    sys.exit(main())
