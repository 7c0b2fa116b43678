"""Files that are not what their name says."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from focuscli.data.contents import wrong_kind


def archive(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(name, "")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (archive("[Content_Types].xml"), "a workbook"),
        (archive("images/a.jpg"), "a ZIP archive"),
        (b"\n<!DOCTYPE html>\n<html>", "a web page"),
        (b"\xef\xbb\xbf<HTML><body>", "a web page"),
        (b'<?xml version="1.0"?>\n<annotation>', "an XML file"),
        (json.dumps([{"image": "a.jpg", "hat": 1}]).encode(), "a JSON file"),
        (json.dumps({"a.jpg": [0, 1]}, indent=1).encode("utf-16"), "a JSON file"),
        *((pickle.dumps({"label": [0, 1]}, protocol), "a pickle") for protocol in (0, 2, 4)),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "a MATLAB file of version 7.3 (HDF5)"),
        (gzip.compress(b"image,hat\n", mtime=0), "a gzip archive"),
        (b"a.jpg\t1,0,0\nb.jpg\t0,1,0", "a PaddleClas list"),
        (b"sub/a b.jpg\t1,0,0\r\n" * 500, "a PaddleClas list"),
        (b"image\that\nb.jpg\t0\n", None),
        (b"image,[hat]\na.jpg,0\n", None),
        (b"[image],hat\na.jpg,0\n", None),
        (b"", None),
    ],
)
def test_a_file_is_recognised_by_its_content(tmp_path: Path, content: bytes, kind: str | None) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    found = wrong_kind(file)
    assert (found and found[0]) == kind
    assert found is None or found[1]


def test_hints_fit_what_was_wanted(tmp_path: Path) -> None:
    file = tmp_path / "annotation.mat"
    scipy.io.savemat(file, {"label": np.zeros((2, 2))})
    assert wrong_kind(file, "mat") is None
    assert wrong_kind(file) == ("a MATLAB file", "Official downloads have commands of their own: focus prepare --help")
    file.write_bytes(b"<html>")
    assert "browser" in wrong_kind(file, "mat")[1]
    file.write_bytes(b'{"a": 1}')
    assert "MATLAB file" in wrong_kind(file, "mat")[1]
    assert wrong_kind(tmp_path / "none") is None
