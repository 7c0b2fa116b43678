"""Reading the tensors in weight files without running any code in them.

A file's container is recognised by its content, never by its extension:

- `torchscript`, as OpenAI distributes CLIP: a zip whose pickle `data.pkl` describes a tree of modules and whose members
  `data/<key>` are raw storages. `torch.jit.load` would compile and run the code in it.
- `pickle`, a zip as `torch.save` writes it, built in the same way.
- `pickle-legacy`, as `torch.save` wrote it before PyTorch 1.6: pickles, then the raw storages one after the other.
- `safetensors`, read by the library of that name.

All pickles go through one unpickler, which looks names up in an allow-list and only describes tensors. `_describe_tensor`
is the one place that checks a tensor against its storage; `_read_tensors` then reads the storages.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, NoReturn

import torch
from torch import Tensor

from clip_impl.errors import WeightsError

LARGEST_FILE = 16 * 2**30
LARGEST_PICKLE = 64 * 2**20
MOST_TUPLES = 100_000
LARGEST_TREE = 1_000_000
DEEPEST_TREE = 64
LARGEST_CLAIM = 4
"""Largest size of all tensors together, as a multiple of the file's size."""

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The pickle of torch's magic number."""
_DOWNLOAD = "Download the file again, and compare its size and sha256."
_SAVE = (
    "Nothing in it was run. If you trust where it comes from, save its tensors alone, in its own project: "
    "torch.save(model.state_dict(), 'weights.pt')"
)


def read_container(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The name of the container, and every tensor in it by its dotted name: `state_dict.visual.proj` for a checkpoint
    that keeps its weights under `state_dict`. Other values, and names that are not strings, are dropped.

    Raises:
        WeightsError: not a weight file, damaged, without tensors, or a pickle of more than tensors and plain values.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    if size > LARGEST_FILE:
        raise WeightsError(f"{path} is larger than {LARGEST_FILE >> 30} GiB; no CLIP weight file is.")
    if start.startswith(_ZIP):
        read = _read_zip
    elif start.startswith(_LEGACY[:-1]):
        read = _read_legacy
    elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        read = _read_safetensors
    else:
        raise WeightsError(f"{path} is not a weight file: {_what_it_is(start)}.", _DOWNLOAD)
    try:
        container, tensors = read(path)
    except WeightsError:
        raise
    except _Refused as error:
        raise WeightsError(f"{path} is refused: {error}.", _SAVE) from error
    except Exception as error:  # Damaged or crafted content makes the readers raise almost anything.
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(f"{path} is damaged or cut off: {reason}.", _DOWNLOAD) from error
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors.", "Save model.state_dict().")
    return container, tensors


class _Refused(Exception):
    """The content is readable but asks for something that no weight file needs."""


class _Storage(NamedTuple):
    """A storage that a pickle mentions: `length` values of `dtype` under `key`."""

    key: str
    dtype: torch.dtype
    length: int

    @property
    def nbytes(self) -> int:
        return self.length * self.dtype.itemsize


class _TensorRecord(NamedTuple):
    """A checked view of a storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Module:
    """Stands for an object of a TorchScript archive's own classes: keeps its attributes, runs nothing."""

    attributes: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.attributes = state


class _StateDict(dict[str, Any]):
    """Stands for OrderedDict; the attributes of one, such as a state dict's `_metadata`, are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """What a pickle may call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise _Refused("it tries to change a function")


def _describe_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> _TensorRecord:
    """Refuses a tensor that reaches beyond its storage, and one with more elements than its storage has values (a stride
    of 0 repeats them), which could take any amount of memory once it is copied."""
    if type(storage) is not _Storage or type(size) is not tuple or type(stride) is not tuple:
        raise _Refused("it describes a tensor in an unknown way")
    if len(size) != len(stride) or not all(map(_is_size, (offset, *size, *stride))):
        raise _Refused(f"it describes a tensor of size {size} and stride {stride}")
    count = math.prod(size)
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    if count and max(count - 1, last) >= storage.length:
        raise _Refused(f"it has a tensor of size {list(size)} in a storage of {storage.length} values")
    return _TensorRecord(storage, offset, size, stride)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


_tensor = _Function(_describe_tensor)
_first_argument = _Function(lambda value, *_: value)
_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": _Function(lambda: _StateDict()),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first_argument,
    "torch._utils._rebuild_parameter_with_state": _first_argument,
    "torch._tensor._rebuild_from_type_v2": _Function(lambda rebuild, _class, arguments, _state: rebuild(*arguments)),
    "torch.Tensor": None,
    "torch.nn.parameter.Parameter": None,
}
_TORCHSCRIPT = ("restore_type_tag", "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
_ALLOWED |= {f"torch.jit._pickle.{name}": _first_argument for name in _TORCHSCRIPT}
# Plain values in the checkpoints of trainings: no weights, so they become None.
_PLAIN = (
    *("torch.Size", "torch.device", "torch.serialization._get_layout"),
    *("collections.Counter", "_codecs.encode", "builtins.set", "builtins.bytearray", "builtins.complex"),
)
_ALLOWED |= dict.fromkeys(_PLAIN, _Function(lambda *_: None))
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


class _Unpickler(pickle.Unpickler):
    """Makes containers, plain values and descriptions of tensors; collects the storages that they mention."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return None
        full_name = f"{module}.{name}".replace("__builtin__.", "builtins.")  # the name in pickle protocol 2
        if full_name in _ALLOWED:
            return _ALLOWED[full_name]
        raise _Refused(
            f"besides tensors it holds an object of {full_name}, and unpickling such objects can run any code"
        )

    def persistent_load(self, identifier: Any) -> _Storage:
        # The location is the device that the tensor was on when it was saved.
        kind, dtype, key, _location, length, *view = identifier
        known = kind == "storage" and isinstance(dtype, torch.dtype) and type(key) is str and _is_size(length)
        if not known or any(part is not None for part in view):
            raise _Refused("it describes a storage in an unknown way")
        storage = _Storage(key, dtype, length)
        if self.storages.setdefault(key, storage) != storage:
            raise _Refused(f"it describes storage {key} in two ways")
        return storage


def _unpickle(file: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
    """The content of the next pickle in `file`, and the storages that it mentions by key."""
    start, tuples = file.tell(), 0
    for opcode, argument, position in pickletools.genops(file):
        if position is not None and position - start > LARGEST_PICKLE:
            raise _Refused(f"its description is larger than {LARGEST_PICKLE >> 20} MiB, which no CLIP file's is")
        # Memo numbers count up from 0; Python would reserve gigabytes for a large one.
        if "PUT" in opcode.name and isinstance(argument, int) and argument > (position or 0):
            raise _Refused("its pickle has memo numbers larger than its length")
        # A million tuples in one another overflow Python's stack where they are the key of a dict.
        tuples += opcode.name.startswith("TUPLE")
        if tuples > MOST_TUPLES:
            raise _Refused(f"it holds more than {MOST_TUPLES:,} tuples, which no CLIP file does")
    end = file.tell()
    file.seek(start)
    unpickler = _Unpickler(file.read(end - start))
    return unpickler.load(), unpickler.storages


def _flatten(root: Any) -> Iterator[tuple[str, _TensorRecord]]:
    """Every tensor with its dotted name, those of a module before those of its children, as `state_dict` has them."""
    visited = 0
    pending = [("", root, 0)]
    while pending:
        prefix, parent, depth = pending.pop()
        members = parent.attributes if isinstance(parent, _Module) else parent if isinstance(parent, dict) else {}
        children = []
        for name, value in members.items():
            visited += 1
            # Modules that contain each other, or one child under many names, would give endlessly many tensors.
            if visited > LARGEST_TREE or depth > DEEPEST_TREE:
                raise _Refused("its modules are nested too deeply, or in a circle")
            if not isinstance(name, str):
                continue
            if type(value) is _TensorRecord:
                yield f"{prefix}{name}", value
            elif isinstance(value, (_Module, dict)):
                children.append((f"{prefix}{name}.", value, depth + 1))
        pending += reversed(children)


def _read_tensors(content: Any, read: Callable[[_Storage], bytes], file_size: int) -> dict[str, Tensor]:
    """The tensors in `content`, by dotted name; `read` gives a storage's bytes."""
    records = dict(_flatten(content))
    # Tensors can share a storage, and the members of a zip their bytes.
    stored = sum(storage.nbytes for storage in {record.storage for record in records.values()})
    viewed = sum(math.prod(record.size) * record.storage.dtype.itemsize for record in records.values())
    if max(stored, viewed) > LARGEST_CLAIM * file_size:
        raise _Refused(f"its tensors claim {max(stored, viewed):,} bytes, the file has {file_size:,}")
    storages: dict[str, Tensor] = {}
    tensors = {}
    for name, record in records.items():
        storage = record.storage
        if storage.key not in storages:
            raw = bytearray(read(storage))
            if len(raw) != storage.nbytes:
                raise ValueError(f"storage {storage.key} has {len(raw)} bytes, want {storage.nbytes}")
            storages[storage.key] = (
                torch.frombuffer(raw, dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)
            )
        tensors[name] = storages[storage.key].as_strided(record.size, record.stride, record.offset)
    return tensors


def _read_zip(path: Path) -> tuple[str, dict[str, Tensor]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if not roots:
            raise WeightsError(f"{path} is a zip archive, but not one of torch (no data.pkl in it).")
        root = roots[0]
        if len(set(names)) < len(names):
            raise ValueError("it has two members of the same name")

        def read(name: str) -> bytes:
            # TorchScript's code, which torch compresses, is never opened.
            if archive.getinfo(root + name).compress_type != zipfile.ZIP_STORED:
                raise _Refused(f"{name} is compressed, which torch never does to tensors")
            return archive.read(root + name)

        if f"{root}byteorder" in names and read("byteorder").strip() != b"little":
            raise _Refused("it was written on a big-endian machine, which is not supported")
        content, _ = _unpickle(io.BytesIO(read("data.pkl")))
        container = "torchscript" if f"{root}constants.pkl" in names else "pickle"
        return container, _read_tensors(content, lambda storage: read(f"data/{storage.key}"), path.stat().st_size)


def _read_legacy(path: Path) -> tuple[str, dict[str, Tensor]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(_LEGACY))
        protocol, _ = _unpickle(file)
        machine, _ = _unpickle(file)
        if protocol != 1001 or machine.get("little_endian") is not True:
            raise _Refused("it has another protocol than 1001, or was written on a big-endian machine")
        content, storages = _unpickle(file)
        keys, _ = _unpickle(file)
        positions = {}
        for key in keys:
            if int.from_bytes(file.read(8), "little") != storages[key].length:
                raise ValueError(f"storage {key} is of another size than described")
            positions[key] = file.tell()
            if file.seek(storages[key].nbytes, io.SEEK_CUR) > size:
                raise ValueError(f"storage {key} is incomplete")

        def read(storage: _Storage) -> bytes:
            file.seek(positions[storage.key])
            return file.read(storage.nbytes)

        return "pickle-legacy", _read_tensors(content, read, size)


def _read_safetensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    from safetensors.torch import load_file

    return "safetensors", load_file(path)


def _what_it_is(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, the file itself was not fetched (git lfs pull)"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    return f"it starts with {start[:8].hex(' ')}"
