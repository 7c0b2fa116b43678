"""A reader for the tensors in a TorchScript archive that runs nothing of what is in it.

OpenAI distributes CLIP as TorchScript: a zip whose `data.pkl` describes the module tree and whose `data/<key>` members
are raw storages. `torch.jit.load` is deprecated and compiles the code in the archive; this reader interprets the pickle
with a handful of inert classes and builds tensors from the storages, every bound checked.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_impl.errors import WeightsError

LARGEST_ARCHIVE = 16 * 2**30
LARGEST_PICKLE = 64 * 2**20

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Module:
    """Stands for an object of the archive's own classes: keeps its attributes, runs nothing."""

    def __init__(self, *_arguments: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.attributes = dict(state)


class _Reader(pickle.Unpickler):
    """Unpickles with an allow-list; storages come from the zip."""

    def __init__(self, file: Any, storages: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        known: dict[tuple[str, str], Any] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _tag: value,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
            ("torch.jit._pickle", "build_boollist"): list,
            ("torch.jit._pickle", "build_tensorlist"): list,
        }
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"refused global {module}.{name}")

    def persistent_load(self, identifier: Any) -> Tensor:
        kind, dtype, key, _device, count = identifier
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"refused storage {identifier!r}")
        return self._storages(str(key), dtype, int(count))


def is_torchscript(names: list[str]) -> bool:
    """Whether a zip with these members is a TorchScript archive."""
    return any(name.endswith("/constants.pkl") for name in names) and any(name.endswith("/data.pkl") for name in names)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """All tensors of a TorchScript archive by dotted name, in the file's order and dtype.

    Raises:
        WeightsError: the file is damaged, too large, or asks for anything but tensors; nothing of it has run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is a damaged archive: {error}.", "Download it again.") from error
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is no readable TorchScript archive: {error}.", "Nothing in it was run.") from error


def _read(archive: zipfile.ZipFile, path: Path) -> dict[str, Tensor]:
    members = {member.filename: member for member in archive.infolist()}
    root = next(name for name in members if name.endswith("/data.pkl")).removesuffix("data.pkl")
    if sum(member.file_size for member in members.values()) > LARGEST_ARCHIVE:
        raise WeightsError(f"{path} unpacks to more than {LARGEST_ARCHIVE >> 30} GiB; no CLIP file does.")
    order = members.get(f"{root}byteorder")
    if order is not None and archive.read(order).strip() != b"little":
        raise WeightsError(f"{path} was written on a big-endian machine, which is not supported.")
    if members[f"{root}data.pkl"].file_size > LARGEST_PICKLE:
        raise WeightsError(f"{path}: its description is larger than {LARGEST_PICKLE >> 20} MiB; no CLIP file's is.")
    loaded: dict[str, Tensor] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in loaded:
            member = members.get(f"{root}data/{key}")
            wanted = count * dtype.itemsize
            if member is None or member.file_size != wanted:
                found = "missing" if member is None else f"{member.file_size} bytes"
                raise WeightsError(f"{path}: storage {key} is {found}, want {wanted} bytes.", "Download it again.")
            if member.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(f"{path}: storage {key} is compressed, which torch never writes.")
            buffer = bytearray(archive.read(member))
            loaded[key] = torch.frombuffer(buffer, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return loaded[key]

    with archive.open(f"{root}data.pkl") as description:
        module = _Reader(description, storage).load()
    tensors = dict(_walk(module, ""))
    if not tensors:
        raise WeightsError(f"{path} holds no tensor.")
    return tensors


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
) -> Tensor:
    if len(size) != len(stride) or offset < 0 or min((*size, *stride, 0)) < 0:
        raise pickle.UnpicklingError(f"refused tensor of size {size} and stride {stride}")
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= storage.numel():
        raise pickle.UnpicklingError(f"tensor of size {size} reaches beyond its storage of {storage.numel()}")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _walk(value: Any, name: str) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    children = value.attributes if isinstance(value, _Module) else value if isinstance(value, Mapping) else {}
    return [item for key, child in children.items() for item in _walk(child, f"{name}.{key}" if name else str(key))]
