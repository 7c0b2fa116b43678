"""The main commands with the oldest packages that setup.cfg allows, beside the installed torch: `make test-oldest`.

With --requirements it prints these packages instead. torch, timm and tensorboard are not among them: they are too large to
have twice.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
AS_INSTALLED = {"torch", "timm", "tensorboard"}
TINY = "--model tiny --weights none --device cpu --threads 1 --batch-size 8 --set model.image_size=32,16 --set augment.margin=2"


def oldest() -> dict[str, str]:
    """Package -> the lowest version that setup.cfg allows."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    bounds = re.findall(r"^([\w-]+)>=([\w.]+)", settings["options"]["install_requires"], flags=re.MULTILINE)
    return {name: bound for name, bound in bounds if name not in AS_INSTALLED}


def run(line: str, *more: str) -> None:
    """Run a command line in this process, which imports torch once; SystemExit where it does not end with 0."""
    from focuscli.cli.main import app

    print(f"focus {line}", *more, flush=True)
    code = app([*line.split(), *more], standalone_mode=False)
    if code:
        sys.exit(f"exit code {code}")


def main() -> None:
    if sys.version_info >= (3, 13):
        print("The oldest packages have no wheels for Python 3.13 and later; nothing was tested.")
        return
    for name, bound in oldest().items():
        assert (version(name) + ".0").startswith(bound + "."), f"{name} {version(name)} stands before {bound}"
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"FOCUS_HOME": folder, "FOCUS_RUNS": f"{folder}/runs"}
        run("help exit-codes -q")
        run("predict --help")
        run("prepare synthetic --as pa100k --images 40 -q --out", f"{folder}/download")
        run("prepare pa100k -q --out", f"{folder}/pa100k", f"{folder}/download")
        run("prepare synthetic --images 40 -q")
        crop = str(next(Path(folder).glob("datasets/synthetic/**/*.jpg")))
        run(f"train -d synthetic --epochs 1 -q {TINY}")
        run("eval -q")
        run("eval --open-domain --target synthetic --json -q")
        run("predict -q -a backpack", crop)
        run("viz -q -o", f"{folder}/viz.png", "-a", "backpack", crop)
        run("report -q -o", f"{folder}/report.html")


if __name__ == "__main__":
    if "--requirements" in sys.argv:
        print(*(f"{name}=={bound}" for name, bound in oldest().items()))
    else:
        main()
