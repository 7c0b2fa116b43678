"""Small runs on noisy labels, their reports, and a page in a headless browser."""

from __future__ import annotations

import contextlib
import functools
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from focuscli.data.folder import read_folder, write_folder
from focuscli.engine.run import Run
from focuscli.tools.report.collect import collect
from focuscli.tools.report.page import render_page

HOST = """<!doctype html><body><pre id="found"></pre>{frames}<script>
window.onload = () => {{
  const probe = {probe}, windows = [...document.querySelectorAll("iframe")].map((frame) => frame.contentWindow);
  const found = windows.map((window) => probe(window.document, window));
  document.getElementById("found").textContent = "FOUND" + JSON.stringify(found) + "END";
}};
</script>"""


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    """probe(page, function, {"width": 360, "dark": True, "scripts": False}, ...) opens a page in one frame of each kind.

    Returns what the JavaScript function (document, window) => value finds in each.
    """
    if (program := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("no browser is installed (Debian: apt-get install chromium)")

    def call(page, function, *frames):
        tags = ""
        for frame in frames:
            scheme, width = "dark" if frame.get("dark") else "light", frame.get("width", 1200)
            # Without allow-scripts no script of the page runs, but the host can still look into it.
            sandbox = "allow-same-origin" + " allow-scripts" * frame.get("scripts", True)
            look = f"color-scheme: {scheme}; width: {width}px; height: 900px; border: 0"
            tags += f'<iframe sandbox="{sandbox}" style="{look}" srcdoc="{html.escape(page)}"></iframe>'
        folder = tmp_path_factory.mktemp("chromium")
        (folder / "host.html").write_text(HOST.format(frames=tags, probe=function), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]
        command = [program, *options, f"--user-data-dir={folder / 'profile'}", (folder / "host.html").as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        answer = re.search("FOUND(.*?)END", done.stdout)
        assert answer, done.stderr
        return json.loads(html.unescape(answer[1]))

    return call


@pytest.fixture(scope="session")
def noisy_dataset(tmp_path_factory, coloured_dataset):
    """The coloured dataset with every fifth label of val and test wrong and some uncertain: no model is always right."""
    data = read_folder(coloured_dataset)
    draw = np.random.default_rng(5).random(data.labels.shape)
    held_out = ~np.isin(data.splits, "train")[:, None]
    labels = np.where(held_out & (draw < 0.2), 1 - data.labels, data.labels)
    labels = np.where(held_out & (draw > 0.95), 2, labels)
    target = tmp_path_factory.mktemp("data") / "noisy"
    write_folder(replace(data, path=target, labels=labels), overwrite=False)
    return target


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, noisy_dataset, micro_config):
    """make_run(name, **changes) trains a run of a few seconds on the noisy dataset, with changes as in micro_config."""

    @functools.cache
    def make(name, **changes):
        folder = tmp_path_factory.mktemp("reported") / name
        settings = {"train__learning_rate": 1e-3, "train__weights": "none", **changes}
        for _ in Run(folder, micro_config(**settings), noisy_dataset, None).train():
            pass
        return folder

    return make


@pytest.fixture(scope="session")
def small_run(make_run):
    return make_run("first")


@pytest.fixture(scope="session")
def ablated_run(make_run):
    """A run without attention over Mix Tokens."""
    return make_run("ablated", model__avfe=False)


@pytest.fixture(scope="session")
def collected():
    """collected(run, ..., **options) collects runs without a progress bar; each only once."""

    def silent(_label):
        return contextlib.nullcontext(lambda done, total: None)

    @functools.cache
    def call(*runs, **options):
        return collect([run / "checkpoints" / "best" for run in runs], silent, device="cpu", workers=1, **options)

    return call


@pytest.fixture(scope="session")
def report(collected, small_run):
    return collected(small_run)[0]


@pytest.fixture(scope="session")
def page(report):
    return render_page([report])
