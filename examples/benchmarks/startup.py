"""What a command costs before it does anything: CPU time of whole processes. (tests/contracts check what they import.)"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from timing import Results, parser

from focuscli.tools.bench import write_crops

FOCUS = [sys.executable, "-m", "focuscli"]
TORCH, RUNTIME = "python, import torch", "python, import onnxruntime"
PREDICT, PREDICT_ONNX = "focus predict, one image, tiny", "focus predict --backend onnx, one image, tiny"
SMALL = ["--model", "tiny", "--weights", "none", "--epochs", "1", "--batch-size", "8", "--device", "cpu"]


def main() -> int:
    results = Results("startup", parser(str(__doc__), batch=1, rounds=9).parse_args())
    # User and system time of all processes that this one has started and waited for.
    results.clock, results.now = "cpu", lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FOCUS_HOME": folder, "FOCUS_RUNS": folder, "FOCUS_OFFLINE": "1"}
        environment |= {"OMP_NUM_THREADS": str(results.options.threads), "ORT_DISABLE_TELEMETRY": "1"}
        call = partial(subprocess.run, env=environment, capture_output=True, check=True)
        (image,) = map(str, write_crops(Path(folder), 1))
        run, model = f"{folder}/run", f"{folder}/model.onnx"
        call([*FOCUS, "prepare", "synthetic", "--images", "24"])
        call([*FOCUS, "train", "--dataset", "synthetic", "--run", run, *SMALL])
        call([*FOCUS, "export", "--checkpoint", run, "--output", model])
        lines = {
            TORCH: [sys.executable, "-c", "import torch"],
            RUNTIME: [sys.executable, "-c", "import onnxruntime"],
            "focus --help": [*FOCUS, "--help"],
            PREDICT: [*FOCUS, "predict", image, "--checkpoint", run, "--device", "cpu"],
            PREDICT_ONNX: [*FOCUS, "predict", image, "--backend", "onnx", "--checkpoint", model],
        }
        calls = {label: partial(call, line) for label, line in lines.items()}
        results.time(calls, "s", 1.0, compare={PREDICT: [TORCH], PREDICT_ONNX: [RUNTIME]})
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
