"""A real browser, driven over a pipe by its own protocol, so that nothing but Chromium is needed; and small runs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
)
SECONDS = 60.0


class Browser:
    """One headless Chromium with one page."""

    def __init__(self, program: str, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte.
        command = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, program, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = ours[1], theirs[0]
        self._buffer = b""
        self._last = 0
        self.requests: list[str] = []
        self.problems: list[str] = []
        target = self.call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True}, session=None)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, parameters: dict[str, Any] | None = None, *, session: str | None = "") -> Any:
        """Send a command and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters or {}}
        if session == "":
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(
        self, page: Path, *, scripts: bool = True, width: int = 1200, height: int = 900, dark: bool = False
    ) -> None:
        """Load a file and wait until it is there."""
        self.call("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.requests.clear()
        self.problems.clear()
        self._loaded = False
        self.call("Page.navigate", {"url": page.resolve().as_uri()})
        while not self._loaded:
            self._receive()

    _loaded = False

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def click(self, selector: str, at: float = 0.5, index: int = 0) -> None:
        """A real mouse click on an element, at a share of its width."""
        find = f"document.querySelectorAll({json.dumps(selector)})[{index}]"
        x, y = self.evaluate(
            f"(() => {{ const e = {find}; e.scrollIntoView({{block: 'center', behavior: 'instant'}}); "
            f"const b = e.getBoundingClientRect(); return [b.x + b.width * {at}, b.y + b.height / 2]; }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def press(self, key: str) -> None:
        """A real key press on what has the focus."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "Home": 36, "End": 35}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]},
            )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._out)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            block = os.read(self._in, 1 << 16) if ready else b""
            if not block:
                raise RuntimeError("the browser has gone" if ready else f"no answer from the browser in {SECONDS} s")
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(parameters["exceptionDetails"]["text"])
            case "Log.entryAdded" if parameters["entry"]["level"] in ("warning", "error"):
                self.problems.append(parameters["entry"]["text"])
        return message


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; the test is skipped if none is installed, or it does not start."""
    program = os.environ.get("FOCUS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    try:
        opened = Browser(program, tmp_path_factory.mktemp("chromium"))
    except (OSError, RuntimeError) as error:
        pytest.skip(f"{program} does not start: {error}")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def noisy_dataset(tmp_path_factory: pytest.TempPathFactory, coloured_dataset: Path) -> Path:
    """The coloured dataset with every fifth label of val and test wrong and some uncertain: no model is always right."""
    import numpy as np

    from focuscli.data.folder import read_folder, write_folder

    data = read_folder(coloured_dataset)
    draw = np.random.default_rng(5).random(data.labels.shape)
    held_out = ~np.isin(data.splits, "train")[:, None]
    labels = np.where(held_out & (draw < 0.2), 1 - data.labels, data.labels)
    labels = np.where(held_out & (draw > 0.95), 2, labels)
    target = tmp_path_factory.mktemp("data") / "noisy"
    write_folder(target, data.schema, data.images, data.splits, data.persons, labels, overwrite=False)
    return target


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, noisy_dataset: Path) -> Path:
    """A run of a few seconds on the noisy dataset."""
    return _train(tmp_path_factory.mktemp("reported") / "first", noisy_dataset)


@pytest.fixture(scope="session")
def second_run(tmp_path_factory: pytest.TempPathFactory, noisy_dataset: Path) -> Path:
    """The same with another seed."""
    return _train(tmp_path_factory.mktemp("reported") / "second", noisy_dataset, seed=1)


@pytest.fixture(scope="session")
def ablated_run(tmp_path_factory: pytest.TempPathFactory, noisy_dataset: Path) -> Path:
    """A run without attention over Mix Tokens."""
    return _train(tmp_path_factory.mktemp("reported") / "ablated", noisy_dataset, avfe=False)


def _train(folder: Path, dataset: Path, *, seed: int = 0, avfe: bool = True) -> Path:
    from focuscli.config import PRESETS, build_config
    from focuscli.engine.run import Run

    settings = {
        "data": {"dataset": str(dataset)},
        "model": {"image_size": [32, 16], "global_tokens": 2, "avfe": avfe},
        "augment": {"margin": 2, "erase": 0.0},
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "warmup_steps": 2,
            "learning_rate": 1e-3,
            "threads": 1,
            "device": "cpu",
            "weights": "none",
            "seed": seed,
        },
    }
    run = Run(folder, build_config([("preset", PRESETS["tiny"]), ("test", settings)])[0], dataset, None)
    for _ in run.train():
        pass
    return folder


@pytest.fixture(scope="session")
def collected():
    """collected(run, ..., **options) collects runs without a progress bar."""
    from focuscli.tools.report.collect import Options, collect

    @contextlib.contextmanager
    def silent(_label: str) -> Iterator[Any]:
        yield lambda done, total: None

    def call(*runs: Path, **options: Any) -> list[Any]:
        return collect([str(run) for run in runs], Options(device="cpu", workers=1, **options), silent)

    return call
