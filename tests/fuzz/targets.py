"""What is fuzzed: files that focus reads, and a command, or where that is slow a function, that reads each."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.cli.errors import report
from focuscli.cli.main import app
from focuscli.data.images import load_image
from focuscli.data.readers import mat, peta
from focuscli.data.schema import builtin_schema
from focuscli.models import build as build_models
from focuscli.tools.report.collect import read_run
from tests.fuzz import sandbox

TRAIN = "--model tiny --weights none --device cpu --threads 1 --batch-size 8 --epochs 1"
SMALL = ("--set", "model.image_size=32,16", "--set", "augment.margin=2", "--set", "model.layers=1")


TINY = CLIPConfig(VisionConfig((32, 16), 8, 16, 1, 2), TextConfig(width=16, layers=1, heads=2), 16, "gelu")


class Target(NamedTuple):
    """A file, which is replaced by its mutants, and the command or function that reads it; as stdin with "-"."""

    name: str
    file: Path
    command: tuple[str, ...] | Callable[[Path], object]

    def read(self, content: bytes) -> int:
        """Write the file and read it; the exit code."""
        self.file.write_bytes(content)
        if callable(self.command):
            try:
                self.command(self.file)
            except Exception as error:
                traceback.print_exc()
                return report(error)
            return 0
        if "-" in self.command:
            sys.stdin = TextIOWrapper(BytesIO(content), encoding="utf-8", errors="surrogateescape")
        return sandbox.focus(self.command)


def focus(line: str, *more: object) -> None:
    """Run a command that has to succeed."""
    said = StringIO()
    with redirect_stderr(said), redirect_stdout(StringIO()):
        code = app([*line.split(), *map(str, more)], standalone_mode=False)
    if code:
        raise RuntimeError(f"focus {line} {more}: exit code {code}\n{said.getvalue()}")


def build(root: Path, real: Path | None = None) -> Iterator[Target]:
    """Write the seeds into a folder and describe the targets. `real`: a folder with real label files, which are used too."""
    build_models.TINY = TINY  # the smallest model takes most mutants a second
    mat._read = sandbox.read_mat  # type: ignore[assignment]
    os.environ |= {"FOCUS_HOME": str(root / "home"), "FOCUS_RUNS": str(root / "runs"), "FOCUS_OFFLINE": "1"}
    data, run = root / "home/datasets/synthetic", root / "runs/run"
    focus("prepare synthetic --images 24 -q")
    focus(f"train -q -d synthetic {TRAIN}", *SMALL, "--run", run)
    crops = sorted((data / "images").rglob("*.jpg"))
    yield Target("schema.toml", data / "schema.toml", ("schema", "check", str(data)))
    yield Target("labels.csv", data / "labels.csv", ("schema", "check", str(data)))
    yield Target("prepare.json", data / "prepare.json", ("schema", "check", str(data)))
    yield from _tables(root, data)
    yield from _downloads(root, real)
    yield from _runs(root, run, crops[0])
    yield from _open_domain(root, run, data)
    yield from _weights(root)
    yield from _images(root, crops[0])
    yield from _galleries(root, crops[0].parent)


def _tables(root: Path, data: Path) -> Iterator[Target]:
    table = root / "table.csv"
    shutil.copy(data / "labels.csv", table)
    out = str(root / "out")
    yield Target("table.csv", table, ("prepare", "csv", str(table), "--images", str(data), "--dry-run", "--out", out))


def _downloads(root: Path, real: Path | None) -> Iterator[Target]:
    out = ("--dry-run", "--out", str(root / "out"))
    for name, more in (("peta", ()), ("pa100k", ("--labels-only",)), ("rapv1", ("--labels-only",))):
        folder = root / f"as-{name}"
        focus(f"prepare synthetic --images 20 -q --as {name}", "--out", folder)
        (file,) = folder.rglob("*.mat")
        yield Target(f"{name} {file.name}", file, ("prepare", name, str(folder), *more, *out))
    folder = root / "subsets"
    for subset in peta.SUBSETS:  # as PETA's authors distribute it
        archive = folder / subset / "archive"
        archive.mkdir(parents=True)
        words = {"1": "hat", "2": "personalMale carryingBackpack", "3": "personalFemale"}
        lines = {person.zfill(peta._PREFIX_DIGITS.get(subset, 4)): text for person, text in words.items()}
        for person in lines:
            Image.new("RGB", (8, 16)).save(archive / f"{person}_1.png")
        (archive / "Label.txt").write_text("".join(f"{person} {text}\n" for person, text in lines.items()))
    yield Target("peta Label.txt", archive / "Label.txt", ("prepare", "peta", str(folder), "--split", "identity", *out))
    labels = ("--labels-only", *out)
    file, rows = root / "dataset_all.pkl", np.arange(20)
    parts = {"train": [rows[:9], rows[5:15]], "val": [rows[9:12], rows[:5]], "test": [rows[12:], rows[15:]]}
    content = {"image_name": [f"{row}.png" for row in rows], "attr_name": [np.str_("hat"), "bag"], "partition": parts}
    file.write_bytes(pickle.dumps(content | {"label": np.eye(20, 2, dtype=np.uint16)}))
    yield Target("dataset_all.pkl", file, ("prepare", "pickle", str(file), *labels))
    file = root / "market_attribute.mat"
    names = [row.name for row in builtin_schema("market1501").attributes if row.group != "age"]
    codes = dict.fromkeys([*names, "age"], np.array([[1, 2, 1]], np.uint8))
    persons = {
        part: {**codes, "image_index": np.array([[f"{part}{n}" for n in "123"]], object)} for part in ("001", "002")
    }
    scipy.io.savemat(file, {"market_attribute": {"train": persons["001"], "test": persons["002"]}})
    yield Target("market1501", file, ("prepare", "market1501", str(file), *labels))
    if real is not None:
        yield from _real(root, real, out)


def _real(root: Path, real: Path, out: tuple[str, ...]) -> Iterator[Target]:
    """Label files of real downloads in a folder such as $FOCUS_SHARED_DATA, which is not changed."""
    places = (
        ("pa100k", "pa100k-mini/annotation.mat"),
        ("rapv1", "rapv1/RAP_annotation/RAP_annotation.mat"),
        ("market1501", "market1501/market_attribute.mat"),
        ("pickle", "pickles/PETA/dataset.pkl"),
    )
    for name, place in places:
        if (real / place).is_file():
            file = root / "real" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real / place, file)
            yield Target(f"real {file.name} ({name})", file, ("prepare", name, str(file), "--labels-only", *out))


def _runs(root: Path, run: Path, crop: Path) -> Iterator[Target]:
    settings = root / "settings.toml"
    shutil.copy(run / "config.toml", settings)
    yield Target("--config", settings, ("train", "--config", str(settings), "--print-config"))
    resume = ("train", "--resume", "--run", str(run), "--dry-run")
    predict = ("predict", str(crop), "-c", str(run), "--device", "cpu")
    yield Target("config.toml", run / "config.toml", resume)
    for kind, command in (("last", resume), ("best", predict)):
        for file in sorted((run / "checkpoints" / kind).iterdir()):
            yield Target(f"{kind} {file.stem.split('-')[0]}{file.suffix}", file, command)
    yield Target("metrics.jsonl", run / "metrics.jsonl", lambda file: read_run(file.parent / "checkpoints/best", None))
    texts = root / "texts.txt"
    texts.write_text("red scarf\nhat\n# no text\nlong sleeve\n")
    yield Target("--texts", texts, ("export", "-c", str(run), "--texts", str(texts), "--dry-run"))
    listed = root / "list.txt"
    listed.write_text(f"{crop}\n{crop}\n")
    yield Target("list on stdin", listed, ("predict", "-", "-c", str(run), "--device", "cpu"))
    table = root / "table.toml"
    shutil.copy(Path(__file__).parents[2] / "examples/tables/racl.toml", table)
    yield Target("table.toml", table, ("reproduce", str(table), "--dry-run", "--model", "tiny", "--weights", "none"))
    model = root / "model.onnx"
    focus("export -q", "-c", run, "-o", model)
    (root / "model.onnx.sha256").unlink()
    yield Target("model.onnx", model, ("predict", str(crop), "-c", str(model)))


def _open_domain(root: Path, run: Path, data: Path) -> Iterator[Target]:
    other = root / "other"
    shutil.copytree(data, other)
    for name in ("schema.toml", "labels.csv"):
        command = ("eval", "--open-domain", "-c", str(run), "--target", str(other), "--device", "cpu")
        yield Target(f"{name} of a target", other / name, command)


def _weights(root: Path) -> Iterator[Target]:
    """The smallest CLIP whose shape can be inferred, in every container."""
    config = CLIPConfig(VisionConfig((32, 32), 16, 64, 1, 1), TextConfig(width=64, layers=1, heads=1), 32)
    tensors = {name: tensor.half() for name, tensor in CLIP(config).state_dict().items()}
    files = {kind: root / f"openai-{kind}" for kind in ("small.safetensors", "zip.pt", "legacy.pt")}
    save_file(tensors, files["small.safetensors"])
    torch.save(tensors, files["zip.pt"])
    torch.save(tensors, files["legacy.pt"], _use_new_zipfile_serialization=False)
    for kind, file in files.items():
        yield Target(kind, file, ("prepare", "weights", str(file), "--force"))
    index = root / "openai.safetensors.index.json"
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, files["small.safetensors"].name)})
    )
    yield Target("index.json", index, ("prepare", "weights", str(index), "--force"))


def _images(root: Path, crop: Path) -> Iterator[Target]:
    picture = Image.open(crop)
    for suffix in ("jpg", "png", "tif", "webp", "bmp", "gif"):
        file = root / f"crop.{suffix}"
        picture.save(file)
        yield Target(f"image .{suffix}", file, load_image)


def _galleries(root: Path, crops: Path) -> Iterator[Target]:
    gallery = root / "gallery"
    focus("index -q --device cpu", crops, "-o", gallery)
    for file in sorted(path for path in gallery.iterdir() if not path.name.startswith(".")):
        # Trained texts have their scores in the table; for others the rest is read.
        text, more = (
            ("hat", ()) if file.suffix == ".parquet" else ("red scarf", ("--fast",) * ("projection" in file.name))
        )
        yield Target(file.name, file, ("search", str(gallery), text, "--device", "cpu", *more))
