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

from focuscli.data.contents import check_kind
from focuscli.errors import InputError


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
        *((pickle.dumps({"label": [0, 1]}, protocol), "a pickle") for protocol in (0, 1, 2, 4)),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "a MATLAB file of version 7.3 (HDF5)"),
        (gzip.compress(b"image,hat\n", mtime=0), "a gzip archive"),
        (b"a.jpg\t1,0,0\nb.jpg\t0,1,0", "a PaddleClas list"),
        (b"sub/a b.jpg\t1,0,0\r\n" * 500, "a PaddleClas list"),
        (b"image\that\nb.jpg\t0\n", None),
        (b"image,[hat]\na.jpg,0\n", None),
        (b"[image],hat\na.jpg,0\n", None),
        (archive("labels.npy"), "an .npz file of NumPy"),
        (archive("model/data.pkl"), "a file of PyTorch"),
        (archive("Index/Document.iwa"), "a workbook"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a pointer of Git LFS, not the file itself",
        ),
        (b"BM\x66\0\0\0\0\0\0\0\x36", "an image"),
        (b"BMI,hat\n", None),
        (b"", None),
    ],
)
def test_a_file_is_recognised_by_its_content(tmp_path: Path, content: bytes, kind: str | None) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    if kind is None:
        check_kind(file, "table")
        return
    with pytest.raises(InputError) as caught:
        check_kind(file, "table")
    assert caught.value.problem == f"{file} is {kind}, not a table of labels."
    assert caught.value.hint


def test_hints_fit_what_was_wanted(tmp_path: Path) -> None:
    file = tmp_path / "annotation.mat"
    scipy.io.savemat(file, {"label": np.zeros((2, 2))})
    check_kind(file, "mat")
    check_kind(tmp_path / "none", "mat")
    for content, wanted, hint in (
        (file.read_bytes(), "table", "focus prepare --help"),
        (b"<html>", "mat", "browser"),
        (b'{"a": 1}', "mat", "the original MATLAB file"),
        (b'{"a": 1}', "pickle", "dataset_all.pkl"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError) as caught:
            check_kind(file, wanted)
        assert hint in (caught.value.hint or "")
