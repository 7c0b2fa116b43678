"""Reading the tensors in weight files without running any code in them.

A file's container is recognised by its content, never by its extension:

- `torchscript`, as OpenAI distributes CLIP: a zip whose pickle `data.pkl` describes a tree of modules and whose members
  `data/<key>` are raw storages. `torch.jit.load` would compile and run the code in it.
- `pickle`, a zip as `torch.save` writes it, built in the same way.
- `pickle-legacy`, as `torch.save` wrote it before PyTorch 1.6: pickles, then the raw storages one after the other.
- `safetensors`, read by the library of that name.

All pickles go through one unpickler, which looks names up in an allow-list and holds storages against the file's size and
tensors against their storage.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

LARGEST_FILE = 16 * 2**30
LARGEST_PICKLE = 64 * 2**20
MOST_TUPLES = 100_000
LARGEST_TREE = 1_000_000
MOST_VIEWS = 4
"""Largest size of all tensors together, which can share storages, as a multiple of the file's size."""

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The pickle of torch's magic number."""
_HINT = (
    "Nothing in it was run. Download it again, and compare its size and sha256. If it holds more than tensors and you trust "
    "where it comes from, save those alone, in its own project: torch.save(model.state_dict(), 'weights.pt')"
)
Storages = Callable[[str, torch.dtype, int], Tensor]  # from key, type and number of values


class WeightsError(ValueError):
    """A weight file that cannot be used: what is wrong and where, and what to do."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem if hint is None else f"{problem}\n{hint}")
        self.problem = problem
        self.hint = hint


class ActivationError(WeightsError):
    """Nothing says which activation the weights were trained with."""


def read_container(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The name of the container, and every tensor in it by its dotted name: `state_dict.visual.proj` for a checkpoint
    that keeps its weights under `state_dict`. Other values, and names that are not strings, are dropped.

    Raises:
        WeightsError: not a weight file, damaged, without tensors, or a pickle of more than tensors and plain values.
    """
    tensors = {}
    try:
        container, content = _read(path)
        for count, (name, value) in enumerate(_members(content)):
            # Modules that contain each other, or one child under many names, would give endlessly many tensors.
            if count > LARGEST_TREE:
                raise ValueError("its modules are nested too deeply, or in a circle")
            if isinstance(value, Tensor):
                tensors[name] = value
        if not tensors:
            raise ValueError("it holds no named tensors")
    except Exception as error:  # Damaged or crafted content makes the readers raise almost anything.
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(f"{path} is not a usable weight file: {reason}.", _HINT) from error
    return container, tensors


def _read(path: Path) -> tuple[str, Any]:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE >> 30} GiB, which no CLIP weight file is")
    with path.open("rb") as file:
        start = file.read(64)
        if start.startswith(_ZIP):
            return _read_zip(file, size)
        if start.startswith(_LEGACY):
            return "pickle-legacy", _read_legacy(file, size)
    if start[8:9] == b"{":
        return "safetensors", load_file(path)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError("it is a Git LFS pointer, the file itself was not fetched (git lfs pull)")
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise ValueError("it is a web page")
    if start and start.isascii() and start.decode().strip().isprintable():
        raise ValueError(f'it is text, which begins "{start[:40].decode().strip()}"')
    raise ValueError(f"it starts with {start[:8].hex(' ')}" if start else "it is empty")


def _members(parent: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every member of nested modules and dicts with its dotted name."""
    for name, value in parent.items() if isinstance(parent, dict) else ():
        if isinstance(name, str):
            yield f"{prefix}{name}", value
            yield from _members(value, f"{prefix}{name}.")


class _Module(dict[str, Any]):
    """Stands for OrderedDict, and for objects of a TorchScript archive's own classes: keeps attributes, runs nothing."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


class _Function(NamedTuple):
    """What a pickle may call but, as it is a tuple, not change."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class _Value:
    """Stands for plain values, such as NumPy's, that a pickle makes and then fills."""

    def __setstate__(self, _state: Any) -> None:
        pass


_first_argument = _Function(lambda value, *_: value)
_TORCHSCRIPT = ("restore_type_tag", "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": _Function(lambda: _Module()),
    "torch._utils._rebuild_parameter": _first_argument,
    "torch._utils._rebuild_parameter_with_state": _first_argument,
    "torch._tensor._rebuild_from_type_v2": _Function(lambda rebuild, _class, arguments, _state: rebuild(*arguments)),
    **{f"torch.jit._pickle.{name}": _first_argument for name in _TORCHSCRIPT},
    **dict.fromkeys(("torch.Tensor", "torch.nn.parameter.Parameter")),
}
# Plain values in the checkpoints of trainings: no weights.
_ARRAYS = [f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
for _name in (
    *_ARRAYS,
    *("numpy.dtype", "numpy.ndarray"),
    *("torch.Size", "torch.device", "torch.serialization._get_layout", "collections.Counter", "_codecs.encode"),
    *("builtins.set", "builtins.bytearray", "builtins.complex"),
):
    _ALLOWED[_name] = _Function(lambda *_: _Value())
_DTYPES = {name: getattr(torch, name.lower()) for name in ("Double", "Float", "Half", "BFloat16", "Bool")}
_DTYPES |= {"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8}


class _Unpickler(pickle.Unpickler):
    """Makes containers, plain values and tensors in the storages of a file of `size` bytes."""

    def __init__(self, content: bytes, size: int, read_storage: Storages) -> None:
        super().__init__(io.BytesIO(content))
        self.read_storage = read_storage
        self.bytes_left, self.views_left = size, MOST_VIEWS * size
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__.") or (module, name) == ("easydict", "EasyDict"):
            return _Module
        if module in ("torch", "torch.storage") and name.endswith("Storage") and name[:-7] in _DTYPES:
            return _DTYPES[name[:-7]]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return None
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _Function(self._rebuild_tensor)
        full_name = f"{module}.{name}".replace("__builtin__.", "builtins.")  # the name in pickle protocol 2
        if full_name in _ALLOWED:
            return _ALLOWED[full_name]
        raise ValueError(f"besides tensors it holds an object of {full_name}, whose unpickling can run any code")

    def persistent_load(self, identifier: Any) -> Tensor:
        """The storage of tensors, as a flat tensor."""
        # The location is the device that the tensor was on when it was saved.
        kind, dtype, key, _location, length, *view = identifier
        known = isinstance(dtype, torch.dtype) and type(length) is int and view in ([], [None])
        if kind != "storage" or not known:
            raise ValueError("it describes a storage in an unknown way")
        if key not in self.storages:
            size = length * dtype.itemsize
            if not 0 <= size <= self.bytes_left:
                raise ValueError(f"its tensors claim more bytes than the file has (storage {key}: {size:,})")
            self.bytes_left -= size
            self.storages[key] = self.read_storage(key, dtype, length)
        storage = self.storages[key]
        if (storage.dtype, len(storage)) != (dtype, length):
            raise ValueError(f"it describes storage {key} in two ways")
        return storage

    def _rebuild_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> Tensor:
        """Refuses a tensor that reaches beyond its storage, and one with more elements than its storage has values (a
        stride of 0 repeats them), which could take any amount of memory once it is copied."""
        if type(storage) is not Tensor or any(type(number) is not int for number in (offset, *size, *stride)):
            raise ValueError("it describes a tensor in an unknown way")
        count = math.prod(size)
        last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
        if min((offset, *size, *stride)) < 0 or (count and max(count - 1, last) >= len(storage)):
            raise ValueError(f"it has a tensor of size {list(size)} in a storage of {len(storage)} values")
        self.views_left -= count * storage.itemsize
        if self.views_left < 0:
            raise ValueError("its tensors claim many times the bytes that the file has")
        return storage.as_strided(size, stride, offset)


def _unpickle(file: BinaryIO, size: int, read_storage: Storages) -> Any:
    """The content of the next pickle in `file`."""
    start, tuples, containers = file.tell(), 0, 0
    for opcode, argument, position in pickletools.genops(file):
        if position is not None and position - start > LARGEST_PICKLE:
            raise ValueError(f"its description is larger than {LARGEST_PICKLE >> 20} MiB, which no CLIP file's is")
        # Memo numbers count up from 0; Python would reserve gigabytes for a large one.
        if "PUT" in opcode.name and isinstance(argument, int) and argument > (position or 0):
            raise ValueError("its pickle has memo numbers larger than its length")
        # A million tuples in one another overflow Python's stack where they are the key of a dict.
        tuples += opcode.name.startswith("TUPLE")
        if tuples > MOST_TUPLES:
            raise ValueError(f"it holds more than {MOST_TUPLES:,} tuples, which no CLIP file does")
        containers += opcode.name.startswith("EMPTY") or opcode.name in ("LIST", "DICT", "FROZENSET", "REDUCE")
        if containers > LARGEST_TREE:  # a byte each can make 200 bytes of memory
            raise ValueError(f"it holds more than {LARGEST_TREE:,} objects, which no CLIP file does")
    end = file.tell()
    file.seek(start)
    return _Unpickler(file.read(end - start), size, read_storage).load()


def _read_zip(file: BinaryIO, size: int) -> tuple[str, Any]:
    if not zipfile.is_zipfile(file):
        raise ValueError("its end is missing: it was not downloaded or copied completely")
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if not roots:
            raise ValueError("it is a zip archive, but not one of torch (no data.pkl in it)")

        def read(name: str) -> bytes:
            # TorchScript's code, which torch compresses, is never opened.
            if archive.getinfo(roots[0] + name).compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which torch never does to tensors")
            return archive.read(roots[0] + name)

        def read_storage(key: str, dtype: torch.dtype, length: int) -> Tensor:
            raw = bytearray(read(f"data/{key}"))
            if len(raw) != length * dtype.itemsize:
                raise ValueError(f"storage {key} has {len(raw)} bytes, want {length * dtype.itemsize}")
            return torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)

        if f"{roots[0]}byteorder" in names and read("byteorder").strip() != b"little":
            raise ValueError("it was written on a big-endian machine, which is not supported")
        container = "torchscript" if f"{roots[0]}constants.pkl" in names else "pickle"
        return container, _unpickle(io.BytesIO(read("data.pkl")), size, read_storage)


def _read_legacy(file: io.BufferedReader, size: int) -> Any:
    storages: dict[str, Tensor] = {}  # filled below: their values come after the pickles

    def new_storage(key: str, dtype: torch.dtype, length: int) -> Tensor:
        return storages.setdefault(key, torch.empty(length, dtype=dtype))

    file.seek(len(_LEGACY))
    protocol, machine, content, keys = (_unpickle(file, size, new_storage) for _ in range(4))
    if protocol != 1001 or machine.get("little_endian") is not True:
        raise ValueError("it has another protocol than 1001, or was written on a big-endian machine")
    if {*keys} != {*storages}:
        raise ValueError("its list of storages is not that of its tensors")
    for key in keys:
        values = storages[key].view(torch.uint8).numpy().data
        if int.from_bytes(file.read(8), "little") != len(storages[key]) or file.readinto(values) != len(values):
            raise ValueError(f"storage {key} is incomplete or of another size than described")
    return content
