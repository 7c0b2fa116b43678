"""The digest of an exported model, at the end of its own file: a weight that has changed gives wrong scores and no error.

An ONNX file is a protobuf message, to which one more entry of its metadata can be appended as bytes. It is checked without
the package onnx, which predicting does not need.
"""

from __future__ import annotations

import hashlib
from mmap import ACCESS_READ, mmap
from pathlib import Path

from focuscli.storage.files import file_sha256

SEAL = "focus.sha256"
"""The key of the digest among the model's metadata; of everything before that entry."""


def seal(path: Path) -> None:
    """Append the digest of a file to it."""
    ending = _ending(file_sha256(path))
    with open(path, "ab") as file:
        file.write(ending)


def is_whole(path: Path) -> bool:
    """Whether a sealed file is as it was when it was sealed."""
    length = len(_ending("0" * 64))
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content, memoryview(content) as view:
        with view[:-length] as before:
            digest = hashlib.sha256(before).hexdigest()
        return content[-length:] == _ending(digest)


def _ending(digest: str) -> bytes:
    entry = _field(1, SEAL.encode()) + _field(2, digest.encode())
    return _field(14, entry)  # ModelProto.metadata_props


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes in a protobuf message; fewer than 128, so that its length is one byte."""
    return bytes([number << 3 | 2, len(content)]) + content
