"""Opening weight files safely: which container a file is, by its content, and what is in it."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from clip_impl.errors import WeightsError
from clip_impl.torchscript import is_torchscript, read_torchscript

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_DOWNLOAD = "Download the file again, and compare its size and sha256."


def read_container(path: Path) -> tuple[str, Any]:
    """`torchscript`, `pickle`, `pickle-legacy` or `safetensors`, and the content: a dict, for pickles whatever it is.

    Raises:
        WeightsError: nothing of these, damaged, or a pickle that holds more than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(_ZIP):
            return _read_zip(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    if start.startswith(_LEGACY):
        return "pickle-legacy", _read_pickle(path, mmap=False)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "safetensors", _read_safetensors(path)
    raise WeightsError(f"{path} is no weight file: {_describe(start)}.", _DOWNLOAD)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_zip(path: Path) -> tuple[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, RuntimeError, LookupError) as error:
        raise WeightsError(f"{path} is damaged or cut off: {error}.", _DOWNLOAD) from error
    if is_torchscript(names):
        return "torchscript", read_torchscript(path)
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(f"{path} is a zip archive, but not one of torch (no data.pkl in it).")
    return "pickle", _read_pickle(path, mmap=True)


def _read_pickle(path: Path, *, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object of {found[1]}" if found else "other objects"
        raise WeightsError(
            f"{path} is refused: besides tensors it holds {what}, and unpickling such objects can run any code.",
            "If you trust where it comes from, save its tensors alone, in its own project: "
            "torch.save(model.state_dict(), 'weights.pt')",
        ) from error
    except (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is damaged or cut off: {reason}.", _DOWNLOAD) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or cut off: {error}.", _DOWNLOAD) from error


def _describe(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, the file itself was not fetched (git lfs pull)"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    return f"it starts with {start[:8].hex(' ')}"
