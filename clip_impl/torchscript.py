"""A reader for the tensors in a TorchScript archive that runs nothing of what is in it.

OpenAI distributes CLIP as TorchScript: a zip whose `data.pkl` describes the module tree and whose `data/<key>` members
are raw storages. `torch.jit.load` is deprecated and compiles the code in the archive; this reader interprets the pickle
with a handful of inert classes and builds tensors from the storages, every bound checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor

from clip_impl.errors import WeightsError

LARGEST_ARCHIVE = 16 * 2**30
LARGEST_PICKLE = 64 * 2**20
LARGEST_TREE = 100_000
DEEPEST_TREE = 64

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


# What damaged or crafted content makes Python raise, beside the refusals here.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    ArithmeticError,
    OSError,
)


class _Module:
    """Stands for an object of the archive's own classes: keeps its attributes, runs nothing."""

    attributes: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.attributes = dict(state)


class _Sealed:
    """Holds a tensor or a function so that a pickle can pass it on but not set its state."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("refused to change a tensor or a function")


class _Function(_Sealed):
    """A function that a pickle may call."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        return self.value(*arguments)


class _Reader(pickle.Unpickler):
    """Unpickles with an allow-list; storages come from the zip."""

    def __init__(self, file: Any, storages: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _tag: value,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
            ("torch.jit._pickle", "build_boollist"): list,
            ("torch.jit._pickle", "build_tensorlist"): list,
        }
        if (module, name) in functions:
            return _Function(functions[module, name])
        raise pickle.UnpicklingError(f"refused global {module}.{name}")

    def persistent_load(self, identifier: Any) -> _Sealed:
        # The device is where the tensor was when it was saved, which means nothing here.
        kind, dtype, key, _device, count = identifier
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not _is_size(count):
            raise pickle.UnpicklingError("refused a storage that is described in an unknown way")
        return _Sealed(self._storages(key, dtype, count))


def is_torchscript(names: list[str]) -> bool:
    """Whether a zip with these members is a TorchScript archive."""
    return _root(names) is not None


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
    except WeightsError:
        raise
    except _UNPICKLING_ERRORS as error:
        raise WeightsError(f"{path} is no readable TorchScript archive: {error}.", "Nothing in it was run.") from error


def _root(names: Iterable[str]) -> str | None:
    """The folder, with its slash, that holds both the description and the constants of a module."""
    known = set(names)
    roots = [name.removesuffix("data.pkl") for name in known if name.count("/") == 1 and name.endswith("/data.pkl")]
    return next((root for root in sorted(roots) if f"{root}constants.pkl" in known), None)


def _read(archive: zipfile.ZipFile, path: Path) -> dict[str, Tensor]:
    root = _root(archive.namelist())
    if root is None:
        raise WeightsError(f"{path} is no TorchScript archive: it has no data.pkl with a constants.pkl beside it.")
    members = _checked_members(archive, path, root)
    order = members.get(f"{root}byteorder")
    if order is not None and archive.read(order).strip() != b"little":
        raise WeightsError(f"{path} was written on a big-endian machine, which is not supported.")
    if members[f"{root}data.pkl"].file_size > LARGEST_PICKLE:
        raise WeightsError(f"{path}: its description is larger than {LARGEST_PICKLE >> 20} MiB; no CLIP file's is.")
    loaded: dict[tuple[str, torch.dtype], Tensor] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        member = members.get(f"{root}data/{key}")
        wanted = count * dtype.itemsize
        if member is None or member.file_size != wanted:
            found = "missing" if member is None else f"{member.file_size} bytes"
            raise WeightsError(f"{path}: storage {key} is {found}, want {wanted} bytes.", "Download it again.")
        if (key, dtype) not in loaded:
            buffer = bytearray(archive.read(member))
            loaded[key, dtype] = torch.frombuffer(buffer, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return loaded[key, dtype]

    description = archive.read(f"{root}data.pkl")
    _check_memo(description)
    tensors = dict(_walk(_Reader(io.BytesIO(description), storage).load(), path))
    if not tensors:
        raise WeightsError(f"{path} holds no tensor.")
    return tensors


def _checked_members(archive: zipfile.ZipFile, path: Path, root: str) -> dict[str, zipfile.ZipInfo]:
    """The members that are read, by name: none twice, compressed or encrypted, together no larger than the file.

    What else is in the archive (code, which torch compresses) is never opened.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.filename not in (f"{root}data.pkl", f"{root}byteorder") and not member.filename.startswith(
            f"{root}data/"
        ):
            continue
        if member.filename in members:
            raise WeightsError(f"{path} is a damaged archive: {member.filename} is in it twice.", "Download it again.")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise WeightsError(
                f"{path}: {member.filename} is compressed or encrypted, which torch never does to tensors."
            )
        members[member.filename] = member
    total = sum(member.file_size for member in members.values())
    if total > LARGEST_ARCHIVE:
        raise WeightsError(f"{path} unpacks to more than {LARGEST_ARCHIVE >> 30} GiB; no CLIP file does.")
    if total > path.stat().st_size:
        raise WeightsError(f"{path} is a damaged archive: its members overlap.", "Download it again.")
    return members


def _check_memo(description: bytes) -> None:
    """Refuse a pickle whose memo numbers would make Python reserve gigabytes; raises ValueError where it is cut off."""
    for opcode, argument, _ in pickletools.genops(description):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > len(description):
            raise pickle.UnpicklingError("refused memo numbers beyond reason")


def _rebuild_tensor(sealed: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> _Sealed:
    """A view of a storage that stays inside of it and is no larger."""
    storage = sealed.value if type(sealed) is _Sealed else None
    if not isinstance(storage, Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise pickle.UnpicklingError("refused a tensor that is described in an unknown way")
    if len(size) != len(stride) or not all(map(_is_size, (offset, *size, *stride))):
        raise pickle.UnpicklingError(f"refused tensor of size {size} and stride {stride}")
    count = math.prod(size)
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True)) if count else 0
    if count and max(count - 1, last) >= storage.numel():
        raise pickle.UnpicklingError(f"tensor of size {size} reaches beyond its storage of {storage.numel()}")
    return _Sealed(torch.as_strided(storage, size, stride, offset))


def _walk(root: Any, path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its dotted name, those of a module before those of its children, as `state_dict` has them."""
    visited = 0
    pending = [("", root, 0)]
    while pending:
        prefix, module, depth = pending.pop()
        children = []
        attributes = module.attributes if isinstance(module, _Module) else module if isinstance(module, Mapping) else {}
        for name, value in attributes.items():
            visited += 1
            # Modules that hold each other, or one child under many names, would make endlessly many tensors.
            if visited > LARGEST_TREE or depth > DEEPEST_TREE:
                raise WeightsError(f"{path}: its modules are nested beyond reason.", "Nothing in it was run.")
            if type(value) is _Sealed:
                yield f"{prefix}{name}", value.value
            else:
                children.append((f"{prefix}{name}.", value, depth + 1))
        pending += reversed(children)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48
