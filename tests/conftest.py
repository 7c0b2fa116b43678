"""Fixtures that several test folders share."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with as many threads as there are cores are slower than one process.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# For tests that load onnxruntime by themselves; the product's own setting has a test.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real research data; the test is skipped where FOCUS_SHARED_DATA does not name one."""
    value = os.environ.get("FOCUS_SHARED_DATA")
    if not value or not Path(value).is_dir():
        pytest.skip("FOCUS_SHARED_DATA names no folder: tests on real data need it")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def onnx_extra() -> None:
    """For tests that export a model or run one; skipped where the extra is not installed."""
    if not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        pytest.skip("the extra onnx is not installed")


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own FOCUS_HOME or runs, and none downloads anything."""
    base = tmp_path_factory.mktemp("focus-home")
    monkeypatch.setenv("FOCUS_HOME", str(base))
    monkeypatch.setenv("FOCUS_RUNS", str(base / "runs"))
    monkeypatch.delenv("FOCUS_OFFLINE", raising=False)


@pytest.fixture(scope="session")
def coloured_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 72 noisy crops whose top is red or not, whose bottom is bright or not: learnable in seconds."""
    import numpy as np
    from PIL import Image

    from focuscli.data.folder import DatasetFolder, write_folder
    from focuscli.data.schema import Attribute, AttributeSchema, Group

    folder = tmp_path_factory.mktemp("data") / "coloured"
    images = folder.parent / "images"
    images.mkdir()
    schema = AttributeSchema(
        name="coloured",
        image_root=str(images),
        groups=(Group(name="hat", complements=("bare head",)), Group(name="lower"), Group(name="extra")),
        attributes=(
            Attribute(name="RedHat", phrase="red hat", region="head", category="accessory", group="hat"),
            Attribute(name="Bright", phrase="bright trousers", region="lower", category="clothes", group="lower"),
            Attribute(name="Dark", phrase="dark trousers", region="lower", category="clothes", group="lower"),
            Attribute(
                name="Blue", phrase="blue shirt", region="upper", category="clothes", group="extra", evaluated=False
            ),
        ),
    )
    generator = np.random.default_rng(0)
    names, labels = [], []
    for number in range(72):
        red, bright, blue = generator.random(3) < 0.5
        pixels = generator.integers(60, 120, (40, 20, 3))
        if red:
            pixels[:10, :, 0] = 250
        pixels[28:] = 220 if bright else 20
        if blue:
            pixels[12:24, :, 2] = 250
        names.append(f"{number:03}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(images / names[-1])
        labels.append([red, bright, not bright, blue])
    splits, persons = np.repeat(["train", "val", "test"], [40, 16, 16]), np.array([str(row // 2) for row in range(72)])
    content = (tuple(names), splits, persons, np.array(labels, np.int8))
    write_folder(DatasetFolder(folder, schema, *content), overwrite=False)
    return folder


@pytest.fixture(scope="session")
def micro_config():
    """A function that builds the smallest configuration that trains, with changes by dotted key."""
    from focuscli.config import PRESETS, build_config

    def build(**changes: object):
        settings: dict[str, dict[str, object]] = {
            "model": {"image_size": [32, 16], "global_tokens": 2},
            "augment": {"margin": 2, "erase": 0.0},
            "loss": {"racl_ramp": 0.0},
            "train": {"epochs": 2, "batch_size": 8, "warmup_steps": 2, "threads": 1, "ema": 0.9, "device": "cpu"},
        }
        for key, value in changes.items():
            section, _, name = key.partition("__")
            settings.setdefault(section, {})[name] = value
        return build_config([("preset", PRESETS["tiny"]), ("test", settings)])[0]

    return build


@pytest.fixture(scope="session")
def make_recognizer(tmp_path_factory, coloured_dataset, micro_config):
    """A function that trains one epoch on the coloured dataset, with changes as in micro_config, and opens the run."""

    @functools.cache
    def make(**changes: object):
        from focuscli.engine.run import Run
        from focuscli.inference.recognizer import Recognizer

        folder = tmp_path_factory.mktemp("runs") / "run"
        for _ in Run(folder, micro_config(train__epochs=1, **changes), coloured_dataset, None).train():
            pass
        return Recognizer.from_checkpoint(folder, device="cpu")

    return make


@pytest.fixture(scope="session")
def recognizer(make_recognizer):
    return make_recognizer()


@pytest.fixture
def crops_as(tmp_path, coloured_dataset):
    """crops_as(schema, labels [72, A], name, splits): another dataset of the coloured crops, in a folder of that name."""

    def write(schema, labels, name=None, splits=None):
        import numpy as np

        from focuscli.data.folder import DatasetFolder, read_folder, write_folder

        crops = read_folder(coloured_dataset)
        schema = schema.model_copy(update={"image_root": str(crops.root)})
        content = (crops.images, np.array(splits or crops.splits), crops.persons, np.array(labels, dtype=np.int8))
        return write_folder(DatasetFolder(tmp_path / (name or schema.name), schema, *content), overwrite=False)

    return write


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt also where the tests run in the background of a shell, which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def worker_farm() -> Iterator[subprocess.Popen[str]]:
    """The program that forks groups of processes; see tests/worker_farm.py."""
    program = Path(__file__).parent / "worker_farm.py"
    root = str(program.parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as farm:
        yield farm
        farm.communicate()


@pytest.fixture
def workers(worker_farm, tmp_path_factory):
    """workers(count, name, *arguments) runs a job of tests/worker_farm.py in so many processes -> [(code, out, err), ...].

    Afterwards workers.folder holds RANK.error where a process has left its failure for torchrun's report.
    """

    def run(count: int, name: str, *arguments: object, kill: object = None, **environment: str):
        run.folder = folder = tmp_path_factory.mktemp("workers")
        environment = {key: os.environ[key] for key in ("FOCUS_HOME", "FOCUS_RUNS")} | environment
        job = {"count": count, "name": name, "arguments": arguments, "folder": folder, "kill": kill}
        worker_farm.stdin.write(json.dumps(job | {"environment": environment}, default=str) + "\n")
        worker_farm.stdin.flush()
        codes = json.loads(worker_farm.stdout.readline())
        return [
            (code, (folder / f"{rank}.out").read_text(), (folder / f"{rank}.err").read_text())
            for rank, code in enumerate(codes)
        ]

    return run
