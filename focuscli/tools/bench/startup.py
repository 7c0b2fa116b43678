"""What a command costs before it does anything: CPU time of whole processes, and modules that must stay away."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from focuscli.errors import RequirementError
from focuscli.tools.bench.crops import draw_crops, write_crops
from focuscli.tools.bench.results import Check, Measurement, Missing, Outcome, single, timed
from focuscli.tools.bench.settings import Settings
from focuscli.tools.bench.timing import Candidate, Clock, Progress, interleave

BARE, TORCH, RUNTIME, HELP, PREDICT, PREDICT_ONNX = (
    "python, nothing imported",
    "python, import torch",
    "python, import onnxruntime",
    "focus --help",
    "focus predict, one image, tiny",
    "focus predict --backend onnx, one image, tiny",
)
HEAVY = ("timm", "matplotlib", "scipy")
FORBIDDEN = {
    HELP: (*HEAVY, "torch", "numpy", "PIL"),
    PREDICT: HEAVY,
    PREDICT_ONNX: (*HEAVY, "torch", "pydantic", "PIL.PdfImagePlugin"),
}
FLOOR = {PREDICT: [TORCH], PREDICT_ONNX: [RUNTIME]}
"""What a command cannot be faster than."""
_LISTING = """\
import json, sys
from focuscli.cli.main import main
sys.argv = ["focus", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def measure(settings: Settings, progress: Progress | None = None) -> Outcome:
    """Seconds of CPU time, user and system, of each command in a fresh process."""
    missing = []
    with tempfile.TemporaryDirectory(prefix="focus-bench-") as name:
        folder = Path(name)
        environment = _environment(settings, folder)
        commands = {HELP: ["--help"]}
        image = str(write_crops(folder / "crops", 1, draw_crops(1))[0])
        run = tiny_run(folder, environment)
        commands[PREDICT] = ["predict", image, "--checkpoint", str(run), "--device", "cpu"]
        if importlib.util.find_spec("focuscli.tools.export") is None or importlib.util.find_spec("onnxruntime") is None:
            missing.append(Missing(work="startup", name=PREDICT_ONNX, reason="no ONNX backend installed"))
        else:
            model = folder / "model.onnx"
            _focus(["export", "--checkpoint", str(run), "--format", "onnx", "-o", str(model)], environment)
            commands[PREDICT_ONNX] = ["predict", image, "--backend", "onnx", "--checkpoint", str(model)]
        imports = [_imports(label, arguments, environment) for label, arguments in commands.items()]
        lines = {BARE: [sys.executable, "-c", "pass"], TORCH: [sys.executable, "-c", "import torch"]}
        if PREDICT_ONNX in commands:
            lines[RUNTIME] = [sys.executable, "-c", "import onnxruntime"]
        lines |= {label: [sys.executable, "-m", "focuscli", *arguments] for label, arguments in commands.items()}
        seconds = interleave(
            [Candidate(label, lambda line=line: call(line, environment)) for label, line in lines.items()],  # type: ignore[misc]
            rounds=settings.rounds_or(9, quick=1),
            warmup=0 if settings.quick else 1,
            clock=Clock("cpu", children_seconds),
            progress=progress,
        )
    measured = timed("startup", seconds, unit="s", scale=1.0, clock="cpu", compare=FLOOR)
    return Outcome(measurements=(*measured, *imports), missing=tuple(missing))


def children_seconds() -> float:
    """User and system time of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tiny_run(folder: Path, environment: dict[str, str]) -> Path:
    """A tiny model, trained for a moment on a few drawings; what it knows does not matter."""
    run = folder / "run"
    _focus(["prepare", "synthetic", "--images", "24", "--out", str(folder / "drawn")], environment)
    options = ["--model", "tiny", "--weights", "none", "--epochs", "1", "--batch-size", "8", "--threads", "1"]
    _focus(["train", "--dataset", str(folder / "drawn"), "--run", str(run), "--device", "cpu", *options], environment)
    return run


def call(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        RequirementError: it failed.
    """
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.strip().splitlines()[-2:]) or "no message"
        raise RequirementError(f"A command that is to be timed failed with {done.returncode}: {why}")
    return done


def _focus(arguments: Sequence[str], environment: dict[str, str]) -> None:
    call([sys.executable, "-m", "focuscli", "--quiet", *arguments], environment)


def _imports(label: str, arguments: Sequence[str], environment: dict[str, str]) -> Measurement:
    """How many of the modules that must stay away a command imports."""
    done = call([sys.executable, "-c", _LISTING, json.dumps(arguments)], environment)
    modules = set(json.loads(done.stderr.strip().splitlines()[-1]))
    there = sorted(modules & set(FORBIDDEN[label]))
    return single(
        "startup",
        f"heavy imports of {label}",
        "modules",
        [float(len(there))],
        check=Check(what=f"none of {', '.join(FORBIDDEN[label])}", difference=float(len(there)), bound=0.0),
        note=f"imported: {', '.join(there)}" if there else "",
    )


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """A home of its own, pinned threads, and this very source also where it is not installed."""
    source = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "FOCUS_HOME": str(folder / "home"),
        "FOCUS_RUNS": str(folder / "runs"),
        "FOCUS_OFFLINE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(settings.threads),
    }
