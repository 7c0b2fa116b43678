"""Reading containers: what is read, and that hostile or damaged files run nothing, cost nothing and raise one error."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from clip_impl import containers
from clip_impl.containers import WeightsError, read_container

# A small assembler of pickles: each function gives the opcodes that push one value.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def group(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(function: bytes, *values: bytes) -> bytes:
    return function + group(*values) + b"R"


def mapping(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def module(**values: bytes) -> bytes:
    return name("__torch__.some.where", "Net") + b")\x81" + mapping(**values) + b"b"


def storage(length: int, key: str = "0", dtype: str = "FloatStorage", device: str = "cuda:0") -> bytes:
    return group(text("storage"), name("torch", dtype), text(key), text(device), number(length)) + b"Q"


def tensor(held: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    hooks = call(name("collections", "OrderedDict"))
    numbers = [group(*map(number, values)) for values in (size, stride)]
    return call(name("torch._utils", "_rebuild_tensor_v2"), held, number(offset), *numbers, b"\x89", hooks)


TEN = torch.arange(10, dtype=torch.float32)
RAW = TEN.numpy().tobytes()
WEIGHT = tensor(storage(10), (10,), (1,))
CONTAINERS = ("torchscript", "pickle", "pickle-legacy")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a container around a pickle; `storages` are the raw bytes by key, in a legacy file all of floats."""

    def write(
        description: bytes, container: str = "torchscript", storages: dict[str, bytes] | None = None, **options: Any
    ):
        path = tmp_path / f"{container}.pt"
        storages = {"0": RAW} if storages is None else storages
        if container == "pickle-legacy":
            machine = {"little_endian": options.get("byteorder", b"little") == b"little"}
            head = containers._LEGACY + pickle.dumps(1001, 2) + pickle.dumps(machine, 2)
            storages = {key: value for key, value in storages.items() if text(key) in description}
            raw = b"".join((len(value) // 4).to_bytes(8, "little") + value for value in storages.values())
            path.write_bytes(head + b"\x80\x02" + description + b"." + pickle.dumps(list(storages), 2) + raw)
            return path
        members = {"data.pkl": b"\x80\x02" + description + b"."}
        members |= {"constants.pkl": b"\x80\x02)."} if container == "torchscript" else {}
        members |= {f"data/{key}": value for key, value in storages.items()}
        members |= {"byteorder": options["byteorder"]} if "byteorder" in options else {}
        with zipfile.ZipFile(path, "w", options.get("compression", zipfile.ZIP_STORED)) as zipped:
            for member, content in members.items():
                zipped.writestr(f"root/{member}", content)
        return path

    return write


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in theirs)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_equals_what_torch_reads(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(5, 6).half()))
    net.scale = nn.Parameter(torch.tensor(7.0))  # before those of its children
    torch.jit.save(torch.jit.script(net), str(tmp_path / "net.pt"))
    container, ours = read_container(tmp_path / "net.pt")
    assert container == "torchscript"
    assert_same(ours, torch.jit.load(str(tmp_path / "net.pt")).state_dict())


@pytest.mark.parametrize("container", ["pickle", "pickle-legacy"])
def test_checkpoints_equal_what_torch_reads(container, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    dtypes = {str(dtype): torch.ones(3).to(dtype) for dtype in containers._DTYPES.values()}
    marked = torch.ones(2)
    marked.note = "a tensor with an attribute is saved in another way"
    parameter = nn.Parameter(torch.arange(12.0).reshape(3, 4).T)
    shared = torch.arange(6.0)
    content = {
        "state_dict": net.state_dict(),  # an OrderedDict with attributes
        "optimizer": optimizer.state_dict(),
        "others": {
            **dtypes,
            "empty": torch.empty(0, 4),
            "scalar": torch.tensor(7),
            "marked": marked,
            "parameter": parameter,
            "first": shared[:3],
            "last": shared[3:],
        },
        "arrays": [np.float64(0.5), np.ones(3)],
        "plain": [{1, 2}, b"raw", 1 + 2j, torch.Size([1]), torch.float16, torch.device("cpu"), bytearray(b"x"), None],
        3: {"number": torch.ones(1)},
    }
    path = tmp_path / "checkpoint.bin"
    torch.save(content, path, _use_new_zipfile_serialization=container == "pickle")
    wanted = {f"state_dict.{key}": value for key, value in net.state_dict().items()}
    wanted |= {f"others.{key}": value for key, value in content["others"].items()}
    found, tensors = read_container(path)
    assert found == container
    assert_same(tensors, wanted)


def refuse(path: Path, words: str) -> None:
    with pytest.raises(WeightsError, match=f"is not a usable weight file: .*({words})") as caught:
        read_container(path)
    assert "torch.save(model.state_dict()" in (caught.value.hint or "")


@pytest.mark.parametrize("container", CONTAINERS)
def test_code_in_a_pickle_does_not_run(container, write, tmp_path):
    marker = tmp_path / "marker"
    attack = call(name("os", "mkdir"), text(str(marker)))
    pickle.loads(b"\x80\x02" + attack + b".")  # The usual unpickler runs it.
    marker.rmdir()
    for description in (attack, mapping(weight=WEIGHT, evil=attack), WEIGHT + b"0" + attack):
        refuse(write(description, container), r"besides tensors it holds an object of os\.mkdir")
    assert not marker.exists()


FORBIDDEN = (
    *("os.system", "builtins.eval", "__builtin__.exec", "builtins.getattr", "torch.load", "torch.UntypedStorage"),
    *("torch.storage._load_from_bytes", "torch.jit._pickle.build_anything", "__torch__evil.Net", "collections.deque"),
    "clip_impl.containers._Module",
)
BEYOND, UNKNOWN = "in a storage of", "unknown way"
TENSORS = [
    (tensor(storage(10), (11,), (1,)), BEYOND),
    (tensor(storage(10), (10,), (1,), offset=1), BEYOND),
    (tensor(storage(10), (2, 5), (6, 1)), BEYOND),
    (tensor(storage(10), (1,), (1,), offset=-1), BEYOND),
    (tensor(storage(10), (-1,), (1,)), BEYOND),
    (tensor(storage(10), (2,), (-1,), offset=5), BEYOND),
    (tensor(storage(10), (11,), (0,)), BEYOND),
    (tensor(storage(10), (1 << 30, 1 << 30, 1 << 30), (0, 0, 0)), BEYOND),
    (tensor(storage(10), (1 << 47, 1 << 47), (1, 1)), BEYOND),
    (tensor(storage(0, "empty"), (1,), (1,)), BEYOND),
    (tensor(storage(10), (2, 2), (1,)), "zip()"),
    (tensor(text("no storage"), (1,), (1,)), UNKNOWN),
    (tensor(number(1 << 40), (1,), (1,)), UNKNOWN),
    (call(name("torch._utils", "_rebuild_tensor_v2"), storage(10), number(0), text("1"), text("1")), UNKNOWN),
    (call(name("torch._utils", "_rebuild_tensor_v2"), storage(10)), "missing"),
]
STORAGES = [
    (storage(11), "storage 0 has 40 bytes, want 44|of another size"),
    (storage(5, dtype="HalfStorage"), "want 10|of another size"),
    (storage(10, key="../version"), "no item named|not that of its tensors"),
    (storage(10, key="7"), "no item named|not that of its tensors"),
    (storage(-1), "claim"),
    (storage(1 << 60), "claim"),
    (group(text("module"), *[number(1)] * 4) + b"Q", UNKNOWN),
    (group(text("storage")) + b"Q", "not enough values"),
    (number(3) + b"Q", "unpack"),
    (storage(10) + b"0" + storage(5, dtype="DoubleStorage"), "two ways"),
]
REFUSED = [(name(*full.rsplit(".", 1)), "besides tensors it holds an object of") for full in FORBIDDEN]
# Protocol 4 resolves a dotted name step by step.
REFUSED += [(text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93", "besides tensors")]
REFUSED += TENSORS + [(tensor(held, (1,), (1,)), message) for held, message in STORAGES]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused_values(value, message, container, write):
    """Names that are not listed, tensors beyond their storage, and storages that are not as described."""
    refuse(write(mapping(weight=value), container, {"0": RAW, "empty": b""}), message)


def test_classes_of_the_archive_stay_inert(write):
    refuse(write(module(a=call(name("__torch__", "os"), text("argument")), weight=WEIGHT)), "sequence")
    state = name("__torch__", "Net") + b")\x81" + mapping(__class__=text("x"), __setstate__=text("y")) + b"b"
    metrics = name("easydict", "EasyDict") + b")\x81" + mapping(recall=b"N") + b"b"  # as PAR repositories keep them
    called = call(name("__torch__", "os"))
    assert list(read_container(write(module(a=called, b=state, c=metrics, weight=WEIGHT)))[1]) == ["weight"]


def test_nothing_that_is_shared_can_be_changed(write):
    refuse(write(module(weight=WEIGHT), compression=zipfile.ZIP_DEFLATED), "compressed")
    allowed = [name(*full.rsplit(".", 1)) for full in (*containers._ALLOWED, "torch._utils._rebuild_tensor")]
    for target in (name("__torch__", "Net"), name("torch", "FloatStorage"), *allowed):
        for state in (mapping(value=text("x")), group(b"N", mapping(function=text("x")))):
            refuse(write(module(weight=target + state + b"b", other=WEIGHT)), "")


@pytest.mark.parametrize("zipped", [True, False])
def test_an_expanded_tensor_costs_no_memory(zipped, tmp_path):
    path = tmp_path / "large.pt"
    large = torch.zeros(1).expand(10**5, 3, 100, 100)
    torch.save({"visual.conv1.weight": large}, path, _use_new_zipfile_serialization=zipped)
    refuse(path, r"a tensor of size \[100000, 3, 100, 100\] in a storage of 1 values")


@pytest.mark.parametrize("container", CONTAINERS)
def test_bombs_are_refused(container, write, monkeypatch):
    small = mapping(weight=WEIGHT)
    many = [tensor(storage(10_000), (10_000,), (1,)) for _ in range(100)]
    copies = mapping(**{f"w{index}": value for index, value in enumerate(many)})
    refuse(write(copies, container, {"0": RAW * 1000}), "many times the bytes")
    circle = name("__torch__", "Net") + b")\x81q\x01}(" + text("child") + b"h\x01" + text("w") + WEIGHT + b"ub"
    doubled = WEIGHT + b"q\x00"  # each level holds the one before twice: 2 ** 40 tensors
    for level in range(40):
        doubled += b"0}(" + b"".join(text(key) + b"h" + bytes([level]) for key in "ab") + b"uq" + bytes([level + 1])
    monkeypatch.setattr(containers, "LARGEST_TREE", 10_000)
    refuse(write(circle, container), "recursion")
    refuse(write(doubled, container), "too deeply, or in a circle")
    refuse(write(WEIGHT + b"r" + struct.pack("<I", 0x7FFFFFFF), container), "memo numbers")  # would reserve gigabytes
    refuse(write(b"}(N" + b"\x85" * 2_000_000 + b"Nu", container), "more than 100,000 tuples")  # crash when hashed
    refuse(write(b"](" + b"]" * 20_000 + b"e", container), "more than 10,000 objects")  # each takes a byte here
    monkeypatch.setattr(containers, "LARGEST_PICKLE", 30)
    refuse(write(small, container), "description is larger")
    monkeypatch.setattr(containers, "LARGEST_FILE", 30)
    refuse(write(small, container), "is larger than")


@pytest.mark.parametrize("container", CONTAINERS)
def test_big_endian_files_and_files_without_named_tensors(container, write):
    assert list(read_container(write(mapping(weight=WEIGHT), container, byteorder=b"little"))[1]) == ["weight"]
    refuse(write(mapping(weight=WEIGHT), container, byteorder=b"big"), "big-endian")
    for description in (mapping(training=b"\x88"), WEIGHT, b"]" + WEIGHT + b"a", b"N"):
        refuse(write(description, container), "holds no named tensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n0000", "it starts with 89 50"),
        (pickle.dumps({"plain": 1}), "it starts with 80"),
        (b"PK\x03\x04" + bytes(100), "its end is missing"),
        (b"\xef\xbb\xbf\n<head><title>", "it is a web page"),
        (b"Entry not found", 'it is text, which begins "Entry not found"'),
        (containers._LEGACY, "pickle"),
        ((20).to_bytes(8, "little") + b'{"a": ' + bytes(40), "header"),
        (None, "No such file"),
    ],
)
def test_files_that_are_not_weights(content, message, tmp_path):
    if content is not None:
        (tmp_path / "weights.pt").write_bytes(content)
    refuse(tmp_path / "weights.pt", message)


@pytest.mark.parametrize("container", [*CONTAINERS, "safetensors"])
def test_cut_off_files(container, write, tmp_path):
    path = tmp_path / "cut.pt"
    if container == "safetensors":
        save_file({"weight": TEN, "block": TEN.reshape(2, 5).clone()}, tmp_path / "whole")
        whole = (tmp_path / "whole").read_bytes()
    else:
        block = mapping(bias=tensor(storage(10), (2, 5), (5, 1)))
        whole = write(mapping(weight=WEIGHT, block=block), container).read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_container(path)
