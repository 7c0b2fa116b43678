"""A .mat file is read in another process: a damaged one is refused, whatever it does to scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from focuscli.data.readers import mat
from focuscli.data.readers.annotations import reading
from focuscli.errors import InputError

NAMES = np.array([["Female"], ["Hat"]], dtype=object)


def test_variables_are_those_of_scipy(tmp_path):
    file = tmp_path / "a.mat"
    partitions = np.empty(2, dtype=object)
    partitions[:] = [{"train": np.array([1, 2], np.uint16)}, {"train": np.array([2, 3], np.uint16)}]
    content = {"names": NAMES, "labels": np.eye(3, 2), "set": {"parts": partitions, "text": "one"}, "none": []}
    scipy.io.savemat(file, content)
    found, expected = mat.variables(file), scipy.io.loadmat(file)
    assert mat.strings(found["names"]) == ["Female", "Hat"]
    assert np.array_equal(found["labels"], expected["labels"])
    assert found["none"].shape == expected["none"].shape
    struct, original = found["set"][0, 0], expected["set"][0, 0]
    assert mat.strings(struct["text"]) == ["one"]
    for part, wanted in zip(struct["parts"].ravel(), original["parts"].ravel(), strict=True):
        assert part[0, 0]["train"].dtype == np.uint16
        assert np.array_equal(part[0, 0]["train"], wanted[0, 0]["train"])


def flipped(content: bytes) -> bytes:
    """One byte of a text's tag: scipy's reader then ends the process."""
    damaged = bytearray(content)
    damaged[damaged.rindex(b"Female") - 7] = 1
    return bytes(damaged)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flipped, "damaged"),
        (lambda content: content[:200], "usable"),
        (lambda content: b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(500), "version 7.3"),
        (lambda content: b"<html><body>Sign in</body></html>", "web page"),
        (lambda content: b"", "usable"),
    ],
)
def test_a_damaged_file_or_one_of_another_kind_is_refused(tmp_path, damage, words):
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"names": NAMES})
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=words), reading(file, "Fetch it again."):
        mat.variables(file)


@pytest.mark.parametrize(("name", "value"), [("MEMORY", 2**24), ("SECONDS", 0)])
def test_memory_and_time_are_limited(tmp_path, monkeypatch, name, value):
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"zeros": np.zeros((1, 2**26), np.uint8)}, do_compression=True)
    monkeypatch.setattr(mat, name, value)
    with pytest.raises(ValueError, match=r"memory|time|end"):
        mat.variables(file)
