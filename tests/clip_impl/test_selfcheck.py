"""The check of a weight file: its findings, its exit codes, and that it notices another library's different features."""

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
from clip_impl.model import CLIP
from clip_impl.weights import OPENAI_SHA256, build_model


@pytest.fixture
def file(small, tmp_path) -> Path:
    path = tmp_path / "openai.safetensors"
    save_file(small, path)
    return path


@pytest.fixture(autouse=True)
def no_other_libraries(monkeypatch) -> None:
    """As on a machine that has none of them; tests put stand-ins there."""
    for name in ("clip", "open_clip"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def stand_in(monkeypatch) -> Callable[[str, CLIP], None]:
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
    output = capsys.readouterr().out
    count = sum(tensor.numel() for tensor in small.values())
    assert f"{len(small)}, all present and of the right shapes; {count:,} parameters" in output
    assert hashlib.sha256(file.read_bytes()).hexdigest() in output
    assert "quick_gelu, from: file name" in output
    assert "a red circle 0." in output
    assert output.endswith("all checks hold\n")


def test_each_finding_is_one_line(file, capsys):
    selfcheck.main([str(file)])
    lines = capsys.readouterr().out.splitlines()[:-1]
    assert [line.split()[0] for line in lines] == [
        "note",
        "ok",
        "ok",
        "ok",
        "ok",
        "ok",
        *[lines[6].split()[0]],
        "note",
        "note",
    ]
    assert all("not compared: ModuleNotFoundError" in line for line in lines[-2:])


def test_an_unknown_activation_is_noted_without_a_warning(file):
    found = findings(file.rename(file.with_name("unknown.bin")))["activation"]
    assert (found.status, found.detail) == ("note", "quick_gelu, from: default")


def test_a_file_that_cannot_be_read(tmp_path, capsys):
    for content in (b"", b"nothing like weights", b"PK\x03\x04"):
        (tmp_path / "bad.pt").write_bytes(content)
        assert selfcheck.main([str(tmp_path / "bad.pt")]) == 3
        assert "cannot be read: " in capsys.readouterr().err
    assert selfcheck.main([str(tmp_path / "missing.pt")]) == 3


def test_a_picture_that_cannot_be_read(file, tmp_path, capsys):
    (tmp_path / "picture.png").write_bytes(b"no picture")
    assert selfcheck.main([str(file), "--image", str(tmp_path / "picture.png")]) == 3
    assert "picture.png" in capsys.readouterr().err


def test_missing_tensors_fail(small, tmp_path, capsys):
    save_file({name: t for name, t in small.items() if name != "ln_final.bias"}, tmp_path / "openai.bin")
    assert selfcheck.main([str(tmp_path / "openai.bin")]) == 5
    output = capsys.readouterr().out
    assert "missing: ln_final.bias" in output
    assert output.endswith("1 checks failed\n")


def test_a_published_name_with_another_digest_fails(small, write_torchscript, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    write_torchscript(small, tmp_path / "ViT-B-16.pt")
    found = findings(tmp_path / "ViT-B-16.pt")
    assert found["sha256"].status == "failed"
    assert OPENAI_SHA256["ViT-B-16.pt"] in found["sha256"].detail
    assert found["activation"].detail == "quick_gelu, from: OpenAI's TorchScript"


def test_a_known_digest_is_named(file, monkeypatch):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(OPENAI_SHA256, "ViT-B-16.pt", digest)
    assert findings(file)["sha256"] == selfcheck.Finding("ok", "sha256", f"{digest}: OpenAI's ViT-B-16.pt")


def test_features_that_are_no_numbers_fail(small, tmp_path):
    small = {**small, "text_projection": torch.zeros_like(small["text_projection"])}
    save_file(small, tmp_path / "openai.bin")
    found = findings(tmp_path / "openai.bin")
    assert (found["image"].status, found["texts"].status) == ("ok", "failed")


def test_a_picture_of_ones_own(file, tmp_path):
    Image.new("RGB", (90, 50), "blue").save(tmp_path / "blue.png")
    found = findings(file, tmp_path / "blue.png")["scores"]
    assert found.status == "note"
    assert "blue.png: a diagram 0." in found.detail


def test_equal_features_of_openais_package(file, small, small_config, stand_in):
    stand_in("clip", build_model(small_config, small))
    found = findings(file)
    assert found["clip"].status == "ok"
    assert "image differs by 0.0e+00, texts by 0.0e+00" in found["clip"].detail


@pytest.mark.parametrize("broken", ["visual.proj", "text_projection"])
def test_other_features_of_openais_package_fail(broken, file, small, small_config, stand_in, capsys):
    stand_in("clip", build_model(small_config, {**small, broken: small[broken] * 1.001}))
    assert selfcheck.main([str(file)]) == 5
    assert "failed clip" in capsys.readouterr().out


def test_another_module_of_the_name_clip(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "clip", types.ModuleType("clip"))
    assert "another one than OpenAI's" in findings(file)["clip"].detail


def test_open_clip_gets_the_same_weights(file, small_config, stand_in, monkeypatch):
    monkeypatch.setattr(selfcheck, "VIT_B_16", small_config)
    torch.manual_seed(0)
    stand_in("open_clip", CLIP(small_config))
    assert findings(file)["open_clip"].status == "ok"


def test_logging_is_as_before(file):
    logging.disable(logging.NOTSET)
    findings(file)
    assert logging.root.manager.disable == logging.NOTSET


def test_as_a_command(tmp_path):
    command = [sys.executable, "-m", "clip_impl.selfcheck", str(tmp_path / "missing.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert "missing.pt does not exist" in done.stderr
    assert done.stdout == ""
