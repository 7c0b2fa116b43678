"""The reader of TorchScript archives: what it reads, and that hostile or damaged files run nothing and raise one error."""

from __future__ import annotations

import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clip_impl import torchscript
from clip_impl.errors import WeightsError
from clip_impl.torchscript import read_torchscript
from clip_impl.weights import read_state_dict

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


def storage(count: int, key: str = "0", dtype: str = "FloatStorage", device: str = "cuda:0") -> bytes:
    return group(text("storage"), name("torch", dtype), text(key), text(device), number(count)) + b"Q"


def tensor(held: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    hooks = call(name("collections", "OrderedDict"))
    numbers = [group(*map(number, values)) for values in (size, stride)]
    return call(name("torch._utils", "_rebuild_tensor_v2"), held, number(offset), *numbers, b"\x89", hooks)


TEN = torch.arange(10, dtype=torch.float32)
WEIGHT = tensor(storage(10), (10,), (1,))


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archive around a pickle; `storages` are the bytes of its `data/` members."""

    def write(description: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> Path:
        path = tmp_path / "archive.pt"
        members = {"constants.pkl": b"\x80\x02).", "version": b"1\n", "data.pkl": b"\x80\x02" + description + b"."}
        members |= {f"data/{key}": value for key, value in (storages or {"0": TEN.numpy().tobytes()}).items()}
        members |= options.get("more", {})
        with zipfile.ZipFile(path, "w", options.get("compression", zipfile.ZIP_STORED)) as zipped:
            for member, content in members.items():
                zipped.writestr(f"root/{member}", content)
        return path

    return write


def test_names_order_dtypes_and_views(archive):
    inner = module(bias=tensor(storage(3, "1", "HalfStorage", "cpu"), (3,), (1,)), training=b"\x88", nothing=b"N")
    path = archive(
        module(
            first=tensor(storage(10), (2, 3), (1, 2), offset=4),
            block=inner,
            scale=tensor(storage(10), (), (), offset=7),
            step=tensor(storage(1, "2", "LongStorage"), (), ()),
            empty=tensor(storage(10), (0, 4), (4, 1)),
        ),
        {
            "0": TEN.numpy().tobytes(),
            "1": torch.tensor([0.5, 1, -2]).half().numpy().tobytes(),
            "2": torch.tensor(-7).numpy().tobytes(),
        },
    )
    tensors = read_torchscript(path)
    assert list(tensors) == ["first", "scale", "step", "empty", "block.bias"]
    assert torch.equal(tensors["first"], torch.tensor([[4.0, 6, 8], [5, 7, 9]]))
    assert torch.equal(tensors["block.bias"], torch.tensor([0.5, 1, -2], dtype=torch.float16))
    assert tensors["block.bias"].dtype == torch.float16
    assert tensors["scale"].shape == ()
    assert tensors["scale"] == 7
    assert tensors["step"] == -7
    assert tensors["empty"].shape == (0, 4)


def test_equals_what_torch_reads(tmp_path):
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hasattr(torch.jit, "script"):
            pytest.skip("this torch has no TorchScript any more")
        net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(5, 6).half()))
        torch.jit.save(torch.jit.script(net), str(path))
        theirs = torch.jit.load(str(path)).state_dict()
    ours = read_torchscript(path)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in theirs)


# Attacks. Each would create the marker file if it ran.


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.mark.parametrize(
    ("owner", "function"),
    [("os", "system"), (os.name, "system"), ("subprocess", "getoutput"), ("builtins", "eval"), ("builtins", "exec")],
)
def test_code_in_the_description_is_refused(owner, function, archive, marker):
    python = function in ("eval", "exec")
    command = f"__import__('pathlib').Path({str(marker)!r}).touch()" if python else f"touch '{marker}'"
    attack = call(name(owner, function), text(command))
    # The attack is a real one: the usual unpickler runs it.
    pickle.loads(b"\x80\x02" + attack + b".")
    assert marker.exists()
    marker.unlink()
    for description in (attack, module(weight=WEIGHT, evil=attack), WEIGHT + b"0" + attack):
        with pytest.raises(WeightsError, match=rf"refused global {owner}\.{function}"):
            read_state_dict(archive(description))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        ("torch", "load"),
        ("torch", "Tensor"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch.jit._pickle", "build_anything"),
        ("__torch__evil", "Net"),
        ("collections", "deque"),
        ("builtins", "getattr"),
        ("clip_impl.torchscript", "_Module"),
    ],
)
def test_only_listed_names_are_looked_up(owner, attribute, archive):
    with pytest.raises(WeightsError, match="refused global"):
        read_torchscript(archive(module(value=name(owner, attribute))))


def test_dotted_names_do_not_reach_into_allowed_ones(archive):
    # Protocol 4 would resolve "system.attribute" step by step.
    dotted = text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93"
    with pytest.raises(WeightsError, match="refused global"):
        read_torchscript(archive(module(value=dotted)))


def test_classes_of_the_archive_stay_inert(archive, marker):
    with pytest.raises(WeightsError, match="no readable"):
        read_torchscript(archive(module(a=call(name("__torch__", "os"), text(f"touch '{marker}'")), weight=WEIGHT)))
    called = call(name("__torch__", "os"))
    state = name("__torch__", "Net") + b")\x81" + mapping(__class__=text("x"), __setstate__=text("y")) + b"b"
    assert list(read_torchscript(archive(module(a=called, b=state, weight=WEIGHT)))) == ["weight"]
    assert not marker.exists()


def test_a_tensor_cannot_be_given_a_state(archive):
    for target in (WEIGHT, name("torch._utils", "_rebuild_tensor_v2"), storage(10)):
        with pytest.raises(WeightsError, match="refused to change"):
            read_torchscript(archive(module(weight=target + mapping(value=text("x")) + b"b")))


@pytest.mark.parametrize(
    "bad",
    [
        tensor(storage(10), (11,), (1,)),
        tensor(storage(10), (10,), (1,), offset=1),
        tensor(storage(10), (2, 5), (6, 1)),
        tensor(storage(10), (2,), (10,)),
        tensor(storage(10), (1,), (1,), offset=-1),
        tensor(storage(10), (-1,), (1,)),
        tensor(storage(10), (2,), (-1,), offset=5),
        tensor(storage(10), (1 << 40,), (0,)),
        tensor(storage(10), (1 << 30, 1 << 30, 1 << 30), (0, 0, 0)),
        tensor(storage(10), (1 << 47, 1 << 47), (1, 1)),
        tensor(storage(10), (2, 2), (1,)),
        tensor(storage(0, "empty"), (1,), (1,)),
        tensor(text("no storage"), (1,), (1,)),
        tensor(number(1 << 40), (1,), (1,)),
        call(name("torch._utils", "_rebuild_tensor_v2"), storage(10), number(0), text("1"), text("1")),
        call(name("torch._utils", "_rebuild_tensor_v2"), storage(10)),
    ],
)
def test_tensors_beyond_their_storage_are_refused(bad, archive):
    with pytest.raises(WeightsError):
        read_torchscript(archive(module(weight=bad), {"0": TEN.numpy().tobytes(), "empty": b""}))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (storage(11), "storage 0 is 40 bytes, want 44"),
        (storage(9), "storage 0 is 40 bytes, want 36"),
        (storage(10, dtype="HalfStorage"), "want 20 bytes"),
        (storage(10, key="../version"), "missing"),
        (storage(10, key="7"), "storage 7 is missing"),
        (storage(-1), "unknown way"),
        (storage(1 << 60), "unknown way"),
        (storage(10, dtype="UntypedStorage"), "refused global"),
        (group(text("module"), number(1), number(1), number(1), number(1)) + b"Q", "unknown way"),
        (group(text("storage")) + b"Q", "no readable"),
        (number(3) + b"Q", "no readable"),
    ],
)
def test_storages_that_are_not_as_described(held, message, archive):
    with pytest.raises(WeightsError, match=message):
        read_torchscript(archive(module(weight=tensor(held, (1,), (1,)))))


def test_modules_in_a_circle_or_a_bomb_are_refused(archive):
    circle = name("__torch__", "Net") + b")\x81q\x01}(" + text("child") + b"h\x01" + text("w") + WEIGHT + b"ub"
    with pytest.raises(WeightsError, match="beyond reason"):
        read_torchscript(archive(circle))
    bomb = WEIGHT + b"q\x00"
    for level in range(40):
        bomb += (
            b"0}(" + text("a") + b"h" + bytes([level]) + text("b") + b"h" + bytes([level]) + b"uq" + bytes([level + 1])
        )
    with pytest.raises(WeightsError, match="beyond reason"):
        read_torchscript(archive(bomb))


def test_a_memo_number_that_would_reserve_gigabytes(archive):
    with pytest.raises(WeightsError, match="memo"):
        read_torchscript(archive(WEIGHT + b"r" + struct.pack("<I", 0x7FFFFFFF)))


# The archive around the description.


def test_compressed_members_are_refused(archive):
    with pytest.raises(WeightsError, match="compressed"):
        read_torchscript(archive(module(weight=WEIGHT), compression=zipfile.ZIP_DEFLATED))


def test_members_that_are_not_read_may_be_compressed(archive):
    # torch compresses the code in an archive, which is nothing to read here.
    path = archive(module(weight=WEIGHT))
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr("root/code/__torch__.py", "class Net: pass\n" * 10_000, zipfile.ZIP_DEFLATED)
    assert torch.equal(read_torchscript(path)["weight"], TEN)


def test_big_endian_archives_are_refused(archive):
    with pytest.raises(WeightsError, match="big-endian"):
        read_torchscript(archive(module(weight=WEIGHT), more={"byteorder": b"big"}))
    assert list(read_torchscript(archive(module(weight=WEIGHT), more={"byteorder": b"little"}))) == ["weight"]


def test_a_member_that_is_there_twice(archive):
    path = archive(module(weight=WEIGHT))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as zipped:
        warnings.simplefilter("ignore")
        zipped.writestr("root/data/0", bytes(40))
    with pytest.raises(WeightsError, match="twice"):
        read_torchscript(path)


def test_members_that_share_their_bytes(archive):
    # One large member under a hundred names: a file of 1 MB would unpack to 100 MB.
    path = archive(module(weight=WEIGHT), {"0": TEN.numpy().tobytes(), "large": bytes(1 << 20)})
    with zipfile.ZipFile(path, "a") as zipped:
        large = zipped.getinfo("root/data/large")
        for copy in range(100):
            info = zipfile.ZipInfo(f"root/data/copy{copy}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(info, field, getattr(large, field))
            zipped.filelist.append(info)
            zipped.NameToInfo[info.filename] = info
        zipped._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="overlap"):
        read_torchscript(path)


@pytest.mark.parametrize(
    ("limit", "message"), [("LARGEST_ARCHIVE", "unpacks to more"), ("LARGEST_PICKLE", "description is larger")]
)
def test_oversize(limit, message, archive, monkeypatch):
    path = archive(module(weight=WEIGHT))
    monkeypatch.setattr(torchscript, limit, 30)
    with pytest.raises(WeightsError, match=message):
        read_torchscript(path)


def test_another_zip_is_no_archive(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("root/constants.pkl", b"x")
    with pytest.raises(WeightsError, match="no TorchScript archive"):
        read_torchscript(path)
    with pytest.raises(WeightsError, match=r"not one of torch"):
        read_state_dict(path)


def test_an_archive_without_tensors(archive):
    with pytest.raises(WeightsError, match="holds no tensor"):
        read_torchscript(archive(module(training=b"\x88")))


def test_cut_off_anywhere(archive, tmp_path):
    whole = archive(module(weight=WEIGHT)).read_bytes()
    path = tmp_path / "cut.pt"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_state_dict(path)


def test_changed_bytes_give_tensors_or_one_kind_of_error(archive, tmp_path):
    whole = archive(module(weight=WEIGHT, block=module(bias=tensor(storage(10), (2, 5), (5, 1))))).read_bytes()
    path = tmp_path / "changed.pt"
    generator = random.Random(0)
    refused = 0
    for _ in range(600):
        changed = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        path.write_bytes(changed)
        try:
            tensors = read_torchscript(path)
        except WeightsError:
            refused += 1
        else:
            # Touching every value would crash here if a tensor lay outside of its storage.
            assert all(value.clone().numel() <= 10 for value in tensors.values())
    assert refused > 100


# Other containers that carry code.


class Attack:
    """Unpickling an instance creates the marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_with_code_are_refused(zipped, tmp_path, marker):
    path = tmp_path / "weights.pt"
    content = {"state_dict": {"visual.conv1.weight": torch.zeros(1)}, "evil": Attack(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert marker.exists()
    marker.unlink()
    with pytest.raises(WeightsError, match=r"is refused: .*system.*(\n|.)*torch\.save\(model\.state_dict"):
        read_state_dict(path)
    assert not marker.exists()


def test_a_plain_pickle_is_no_weight_file(tmp_path, marker):
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Attack(marker)))
    with pytest.raises(WeightsError, match="no weight file"):
        read_state_dict(path)
    assert not marker.exists()


def test_a_pickled_module_is_refused_with_advice(tmp_path):
    path = tmp_path / "module.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(WeightsError, match=r"(?s)an object of torch\.nn\.modules.*torch\.save\(model\.state_dict"):
        read_state_dict(path)
