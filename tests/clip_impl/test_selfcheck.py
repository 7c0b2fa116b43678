"""The check of a weight file: its findings and exit codes."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_impl import selfcheck
from clip_impl.config import OPENAI_SHA256


@pytest.fixture
def file(small, tmp_path) -> Path:
    path = tmp_path / "openai.safetensors"
    save_file(small, path)
    return path


def findings(path: Path, picture: Path | None = None) -> dict[str, selfcheck.Finding]:
    return {finding.name: finding for finding in selfcheck.check_file(path, picture)}


def test_a_sound_file(file, small, capsys):
    assert selfcheck.main([str(file)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = {line.split()[1]: line for line in lines}
    assert list(found) == ["sha256", "format", "tensors", "activation", "image", "texts", "scores"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() in found["sha256"]
    count = sum(tensor.numel() for tensor in small.values())
    assert f"{len(small)}, all present and of the right shapes; {count:,} parameters" in found["tensors"]
    assert "quick_gelu, from: file name" in found["activation"]
    assert "a red circle 0." in found["scores"]
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
    assert output.endswith("\n1 check failed\n")


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
