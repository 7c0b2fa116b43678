"""The image tower in ONNX Runtime, in fp32 and with int8 weights (dynamic quantisation)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from focuscli.bench.results import Missing
from focuscli.machine import one_line

Run = Callable[[], Tensor]
NAMES = {"fp32": "ours ONNX fp32", "int8": "ours ONNX int8"}
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def image_towers(tower: nn.Module, images: Tensor, threads: int) -> tuple[dict[str, tuple[Run, str]], list[Missing]]:
    """name -> (one call on the images, precision), and what cannot be had with the reason."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    reason = f"not installed: pip install {' '.join(absent)}" if absent else ""
    if not reason:
        try:
            with tempfile.TemporaryDirectory(prefix="focus-bench-") as folder:
                return _sessions(tower, images, threads, Path(folder)), []
        except Exception as error:  # a foreign package's trouble is a line in the results
            reason = one_line(error)
    return {}, [Missing(work="encode", name=name, reason=reason) for name in NAMES.values()]


def _sessions(tower: nn.Module, images: Tensor, threads: int, folder: Path) -> dict[str, tuple[Run, str]]:
    import onnx
    import onnxruntime

    from focuscli.export.graph import quantised

    exported = folder / "tower.onnx"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_logs():
        warnings.simplefilter("ignore")
        with torch.inference_mode(False):
            torch.onnx.export(tower, (images,), str(exported), dynamo=True, input_names=["images"])
        models = {"fp32": onnx.load(str(exported))}
        models["int8"] = quantised(onnx.load(str(exported)), folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    pixels = images.numpy()
    found: dict[str, tuple[Run, str]] = {}
    for precision, model in models.items():
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found[NAMES[precision]] = (_runner(session, pixels), precision)
    return found


def _runner(session: Any, pixels: Any) -> Run:
    name = session.get_inputs()[0].name
    return lambda: torch.from_numpy(session.run(None, {name: pixels})[0])


@contextlib.contextmanager
def _quiet_logs() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
