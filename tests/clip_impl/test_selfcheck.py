"""The check of a weight file: its findings and exit codes, and that it notices different features of another library."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_impl import selfcheck
from clip_impl.config import OPENAI_SHA256
from clip_impl.model import CLIP
from clip_impl.weights import build_model


@pytest.fixture
def file(small, tmp_path) -> Path:
    path = tmp_path / "openai.safetensors"
    save_file(small, path)
    return path


@pytest.fixture(autouse=True)
def no_other_libraries(monkeypatch) -> None:
    """As on a machine that has none of them; tests put substitutes there."""
    for name in ("clip", "open_clip"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def library(monkeypatch) -> Callable[[str, CLIP], None]:
    """Makes a library that gives a certain model."""

    def install(name: str, model: CLIP) -> None:
        module = types.ModuleType(name)
        module.load = lambda *_, **__: (model, None)  # type: ignore[attr-defined]
        module.create_model = lambda *_, **__: model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)

    return install


def findings(path: Path, picture: Path | None = None) -> dict[str, selfcheck.Finding]:
    return {finding.name: finding for finding in selfcheck.check_file(path, picture)}


def test_a_sound_file(file, small, capsys):
    assert selfcheck.main([str(file)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = {line.split()[1]: line for line in lines}
    assert list(found) == ["sha256", "format", "tensors", "activation", "image", "texts", "scores", "clip", "open_clip"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() in found["sha256"]
    count = sum(tensor.numel() for tensor in small.values())
    assert f"{len(small)}, all present and of the right shapes; {count:,} parameters" in found["tensors"]
    assert "quick_gelu, from: file name" in found["activation"]
    assert "a red circle 0." in found["scores"]
    assert "note" in found["clip"]
    assert "not compared: ModuleNotFoundError" in found["open_clip"]
    assert last == "all checks passed"


def test_an_unknown_activation_is_noted_without_a_warning(file):
    found = findings(file.rename(file.with_name("unknown.bin")))["activation"]
    assert (found.status, found.detail) == ("note", "quick_gelu, from: default")


def test_what_cannot_be_read(file, tmp_path, capsys):
    (tmp_path / "bad").write_bytes(b"neither weights nor a picture")
    for arguments in ([str(tmp_path / "bad")], [str(file), "--image", str(tmp_path / "bad")]):
        assert selfcheck.main(arguments) == 3
        assert "cannot be read: " in capsys.readouterr().err
    command = [sys.executable, "-m", "clip_impl.selfcheck", str(tmp_path / "missing.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (3, "")
    assert "missing.pt does not exist" in done.stderr


def test_missing_tensors_fail(small, tmp_path, capsys):
    save_file({name: t for name, t in small.items() if name != "ln_final.bias"}, tmp_path / "openai.bin")
    assert selfcheck.main([str(tmp_path / "openai.bin")]) == 5
    output = capsys.readouterr().out
    assert "missing: ln_final.bias" in output
    assert output.endswith("1 checks failed\n")


def test_published_digests(file, small, write_torchscript, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    write_torchscript(small, tmp_path / "ViT-B-16.pt")
    found = findings(tmp_path / "ViT-B-16.pt")["sha256"]
    assert found.status == "failed"
    assert OPENAI_SHA256["ViT-B-16.pt"] in found.detail
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(OPENAI_SHA256, "ViT-B-16.pt", digest)
    assert findings(file)["sha256"] == selfcheck.Finding("ok", "sha256", f"{digest}: OpenAI's ViT-B-16.pt")


def test_features_of_length_zero_fail(small, tmp_path):
    save_file({**small, "text_projection": torch.zeros_like(small["text_projection"])}, tmp_path / "openai.bin")
    found = findings(tmp_path / "openai.bin")
    assert (found["image"].status, found["texts"].status) == ("ok", "failed")


def test_a_picture_of_ones_own(file, tmp_path):
    Image.new("RGB", (90, 50), "blue").save(tmp_path / "blue.png")
    found = findings(file, tmp_path / "blue.png")["scores"]
    assert found.status == "note"
    assert "blue.png: a diagram 0." in found.detail


@pytest.mark.parametrize("broken", [None, "visual.proj", "text_projection"])
def test_features_of_openais_package(broken, file, small, small_config, library):
    level = logging.root.manager.disable
    library("clip", build_model(small_config, small if broken is None else {**small, broken: small[broken] * 1.001}))
    found = findings(file)["clip"]
    assert found.status == ("ok" if broken is None else "failed")
    assert ("image differs by 0.0e+00, texts by 0.0e+00" in found.detail) == (broken is None)
    assert logging.root.manager.disable == level


def test_another_module_of_the_name_clip(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "clip", types.ModuleType("clip"))
    assert "not OpenAI's" in findings(file)["clip"].detail


def test_open_clip_gets_the_same_weights(file, small_config, library, monkeypatch):
    monkeypatch.setattr(selfcheck, "VIT_B_16", small_config)
    library("open_clip", CLIP(small_config))
    assert findings(file)["open_clip"].status == "ok"
