"""The image tower in ONNX Runtime, by the steps of `focus export`: in fp32 and with int8 weights."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from focuscli.storage.machine import one_line
from focuscli.tools.bench.results import Missing

Run = Callable[[], Tensor]
NAMES = {"fp32": "ours ONNX fp32", "int8": "ours ONNX int8"}
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def image_towers(tower: nn.Module, images: Tensor, threads: int) -> tuple[dict[str, tuple[Run, str]], list[Missing]]:
    """name -> (one call on the images, precision), and what cannot be had with the reason."""
    absent = absent_packages()
    reason = f"not installed: pip install {' '.join(absent)}" if absent else ""
    if not reason:
        try:
            with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
                return _sessions(tower, images, threads, Path(folder)), []
        except Exception as error:  # a foreign package's trouble is a line in the results
            reason = one_line(error)
    return {}, [Missing(work="encode", name=name, reason=reason) for name in NAMES.values()]


def absent_packages() -> list[str]:
    """What an export needs and is not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def _sessions(tower: nn.Module, images: Tensor, threads: int, folder: Path) -> dict[str, tuple[Run, str]]:
    from focuscli.tools.export.graph import fold_constants, for_export, quantise, to_onnx  # before onnxruntime

    import onnxruntime  # isort: skip

    with torch.inference_mode(False):
        model = fold_constants(
            to_onnx(for_export(tower), {"images": images}, "features", {"images": {0: "batch"}}), folder
        )
    models = {"fp32": model.SerializeToString(), "int8": quantise(model, folder).SerializeToString()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    pixels = images.numpy()
    found: dict[str, tuple[Run, str]] = {}
    for precision, content in models.items():
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found[NAMES[precision]] = (_runner(session, pixels), precision)
    return found


def _runner(session: Any, pixels: Any) -> Run:
    name = session.get_inputs()[0].name
    return lambda: torch.from_numpy(session.run(None, {name: pixels})[0])
