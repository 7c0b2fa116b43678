"""What is fuzzed: files that focus reads, and a command that reads each."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.cli.main import app
from focuscli.data.schema import builtin_schema

TRAIN = "--model tiny --weights none --device cpu --threads 1 --batch-size 8 --epochs 1"
SMALL = ("--set", "model.image_size=32,16", "--set", "augment.margin=2", "--set", "model.layers=1")


class Target(NamedTuple):
    """A file, which is replaced by its mutants, and the command that reads it."""

    name: str
    file: Path
    command: tuple[str, ...]


def focus(line: str, *more: object) -> None:
    """Run a command that has to succeed."""
    said = StringIO()
    with redirect_stderr(said):
        code = app([*line.split(), *map(str, more)], standalone_mode=False)
    if code:
        raise RuntimeError(f"focus {line} {more}: exit code {code}\n{said.getvalue()}")


def build(root: Path, real: Path | None = None) -> Iterator[Target]:
    """Write the seeds into a folder and describe the targets. `real`: a folder with real label files, which are used too."""
    os.environ |= {"FOCUS_HOME": str(root / "home"), "FOCUS_RUNS": str(root / "runs"), "FOCUS_OFFLINE": "1"}
    data, run = root / "home/datasets/synthetic", root / "runs/run"
    focus("prepare synthetic --images 24 -q")
    focus(f"train -q -d synthetic {TRAIN}", *SMALL, "--run", run)
    crops = sorted((data / "images").rglob("*.jpg"))
    yield Target("schema.toml", data / "schema.toml", ("schema", "check", str(data)))
    yield Target("labels.csv", data / "labels.csv", ("schema", "check", str(data)))
    yield from _tables(root, data)
    yield from _downloads(root, real)
    yield from _runs(root, run, crops[0])
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
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".mat", ".txt")):
            yield Target(f"{name} {file.name}", file, ("prepare", name, str(folder), *more, *out))
            if file.suffix == ".txt":
                break  # PETA has ten of them
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
    if real is None:
        return
    for name, path in (("pickle", "pickles/PETA/dataset.pkl"), ("market1501", "market1501/market_attribute.mat")):
        file = Path(shutil.copy(real / path, root / f"real-{name}{Path(path).suffix}"))
        yield Target(f"real {name}", file, ("prepare", name, str(file), *labels))


def _runs(root: Path, run: Path, crop: Path) -> Iterator[Target]:
    settings = root / "settings.toml"
    shutil.copy(run / "config.toml", settings)
    yield Target("--config", settings, ("train", "--config", str(settings), "--print-config"))
    resume = ("train", "--resume", "--run", str(run), "--dry-run")
    predict = ("predict", str(crop), "-c", str(run), "--device", "cpu")
    yield Target("config.toml", run / "config.toml", resume)
    for kind, command in (("last", resume), ("best", predict)):
        for file in sorted((run / "checkpoints" / kind).iterdir()):
            yield Target(f"{kind} {file.name.split('-')[0]}{file.suffix}", file, command)
    yield Target("metrics.jsonl", run / "metrics.jsonl", ("report", str(run), "-o", str(root / "page.html"), "--force"))
    texts = root / "texts.txt"
    texts.write_text("red scarf\nhat\n# no text\nlong sleeve\n")
    yield Target("--texts", texts, ("export", "-c", str(run), "--texts", str(texts), "--dry-run"))
    table = root / "table.toml"
    shutil.copy(Path(__file__).parents[2] / "examples/tables/racl.toml", table)
    yield Target("table.toml", table, ("reproduce", str(table), "--dry-run", "--model", "tiny", "--weights", "none"))
    model = root / "model.onnx"
    focus("export -q", "-c", run, "-o", model)
    (root / "model.onnx.sha256").unlink()
    yield Target("model.onnx", model, ("predict", str(crop), "-c", str(model)))


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
        yield Target(f"image .{suffix}", file, ("predict", str(file), "--device", "cpu"))


def _galleries(root: Path, crops: Path) -> Iterator[Target]:
    gallery = root / "gallery"
    focus("index -q --device cpu", crops, "-o", gallery)
    for file in sorted(path for path in gallery.iterdir() if not path.name.startswith(".")):
        for text in ("hat", "red scarf"):
            yield Target(f"{file.name} ({text})", file, ("search", str(gallery), text, "--device", "cpu"))
