"""Installing weights: from files, and from a local server that breaks off, sends wrong files or has no ranges."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig, read_state_dict
from focuscli.errors import FocusError, InputError, RequirementError, UsageError
from focuscli.storage import paths, weights
from focuscli.storage.files import file_sha256
from focuscli.storage.weights import install_weights, installed_weights, resolve_weights

NAME = "openai-small.safetensors"


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory) -> Path:
    """A complete CLIP, the smallest whose shape can be inferred; its name says the activation."""
    torch.manual_seed(0)
    config = CLIPConfig(VisionConfig((32, 32), 16, 64, 1, 1), TextConfig(width=64, layers=1, heads=1), 32)
    path = tmp_path_factory.mktemp("source") / NAME
    save_file({name: tensor.half() for name, tensor in CLIP(config).state_dict().items()}, path)
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one content under every address, with the faults that the server's attributes ask for."""

    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.ranges_asked.append(asked)
        size = len(server.content)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.has_ranges else 0
        status = server.status or (416 if start >= size and start else 206 if start else 200)
        body = server.content[start:] if status < 300 else b""
        self.send_response(status)
        if status in (206, 416):
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}" if body else f"bytes */{size}")
        if server.sends_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.break_offs.pop(0) - start] if server.break_offs else body)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    content = b""
    status = 0
    has_ranges = True
    sends_length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges_asked: list[str | None] = []
        self.break_offs: list[int] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""

    def url(self, name: str = NAME, folder: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{folder or hashlib.sha256(self.content).hexdigest()}/{name}"


@pytest.fixture
def server(weight_file, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        running.content = weight_file.read_bytes()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def content() -> dict[str, bytes]:
    """Every file in the weights folder."""
    return {path.name: path.read_bytes() for path in sorted(paths.weights_dir().rglob("*")) if path.is_file()}


def test_a_file_is_copied_with_a_record(weight_file, monkeypatch):
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    installed = install_weights(str(weight_file))
    target = paths.weights_dir() / NAME
    assert installed == {
        **{"path": str(target), "sha256": file_sha256(weight_file), "format": "safetensors/openai"},
        **{"tensors": len(load_file(weight_file)), "activation": "quick_gelu", "unused": []},
    }
    assert installed_weights() == resolve_weights(None) == resolve_weights(NAME) == target
    assert resolve_weights(str(weight_file)) == weight_file
    files = content()
    assert list(files) == [NAME, f"{NAME}.json"]
    assert files[NAME] == weight_file.read_bytes()
    assert json.loads(files[f"{NAME}.json"])["sha256"] == installed["sha256"]
    (paths.weights_dir() / NAME).rename(paths.weights_dir() / "ViT-B-16.pt")  # OpenAI's file put there by hand
    assert resolve_weights(None) == paths.weights_dir() / "ViT-B-16.pt"


def test_a_copy_keeps_its_activation(weight_file, tmp_path):
    shutil.copy(weight_file, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 32}}))
    installed = install_weights(str(tmp_path))
    assert installed["activation"] == read_state_dict(installed["path"]).activation == "gelu"


def test_weights_in_several_files_become_one(weight_file, tmp_path):
    tensors = load_file(weight_file)
    folder = tmp_path / "my-clip"
    folder.mkdir()
    for number in (0, 1):
        part = {key: tensor for key, tensor in tensors.items() if ("conv1" in key) != bool(number)}
        save_file(
            part | ({"head.bias": tensors["logit_scale"].clone()} if number else {}), folder / f"{number}.safetensors"
        )
    places = {key: f"{int('conv1' not in key)}.safetensors" for key in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(UsageError, match="--activation quickgelu"):
        install_weights(str(folder))
    installed = install_weights(str(folder), activation="gelu")
    assert (installed["activation"], installed["unused"]) == ("gelu", ["head.bias"])
    assert Path(installed["path"]).name == "my-clip.safetensors"
    again = read_state_dict(resolve_weights(None))
    assert again.activation == "gelu"
    assert set(again.tensors) == set(tensors)
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in tensors.items())


def test_installed_weights_are_replaced_only_by_force(weight_file, tmp_path):
    install_weights(str(weight_file))
    other = tmp_path / "openai-other.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weight_file).items()}, other)
    with pytest.raises(InputError, match=r"exists already; nothing was changed(.|\n)*--force"):
        install_weights(str(other))
    (tmp_path / "openai-none").write_text("no weights")
    with pytest.raises(InputError, match="not a usable weight file"):
        install_weights(str(tmp_path / "openai-none"))
    assert installed_weights() == paths.weights_dir() / NAME
    assert install_weights(str(other), force=True)["sha256"] == file_sha256(other)
    install_weights(other.name, force=True)  # from its own place
    assert list(content()) == [other.name, f"{other.name}.json"]


def test_a_failed_installation_leaves_the_installed_file(server, weight_file, tmp_path):
    install_weights(str(weight_file))
    before = content()
    whole = weight_file.read_bytes()
    incomplete = save({name: t for name, t in load_file(weight_file).items() if name != "ln_final.bias"})
    for bad, message in (
        (whole[:-100], "not a usable weight file"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (incomplete, r"Missing key.*ln_final\.bias"),
    ):
        (tmp_path / "openai-bad").write_bytes(bad)
        server.content = bad
        for source in (str(tmp_path / "openai-bad"), server.url(folder="main")):
            with pytest.raises(InputError, match=message):
                install_weights(source, force=True)
    assert content() == before


OFFLINE = (  # the wording is a contract of the command line
    "CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1).|"
    "Put ViT-B-16.pt (335 MiB, sha256 5806e77c...) anywhere and run: focus prepare weights PATH"
)


@pytest.mark.parametrize(
    ("call", "argument", "offline", "code", "words"),
    [
        (resolve_weights, None, False, 4, "not found (looked in|focus prepare weights"),
        (resolve_weights, None, True, 4, OFFLINE),
        (resolve_weights, NAME, False, 3, "No such weight file"),
        (install_weights, "{source}/openai-smal.safetensors", False, 3, f"No such weight file|Did you mean|/{NAME}?"),
        (install_weights, "zzz", False, 3, "No such weight file|Name a CLIP weight file"),
        (install_weights, None, True, 4, "FOCUS_OFFLINE=1|focus prepare weights PATH"),
        (install_weights, "http://127.0.0.1:9/openai.pt", True, 4, "FOCUS_OFFLINE=1"),
        (install_weights, "http://[::1/openai.pt", False, 3, "not a usable address"),
        (install_weights, "http://127.0.0.1:9", False, 4, "failed|Nothing has arrived"),
        (install_weights, "http://127.0.0.1:port/openai.pt", False, 3, "not a usable address"),
    ],
)
def test_refusals(call, argument, offline, code, words, weight_file, monkeypatch):
    if offline:
        monkeypatch.setenv("FOCUS_OFFLINE", "1")
    with pytest.raises(FocusError) as caught:
        call(argument and argument.replace("{source}", str(weight_file.parent)))
    assert caught.value.exit_code == code
    assert all(part in str(caught.value) for part in words.split("|"))
    assert content() == {}


@pytest.mark.parametrize("has_ranges", [True, False])
def test_an_interrupted_download_continues(has_ranges, server):
    first, second = 1_500_000, 4_000_000
    server.has_ranges, server.break_offs = has_ranges, [first, second]
    seen: list[tuple[int, int | None]] = []
    for kept in (first, second):
        with pytest.raises(RequirementError, match=rf"broke off.*{kept:,} bytes are kept(.|\n)*continues from there"):
            install_weights(server.url())
        assert installed_weights() is None
        assert list(content().values()) == [server.content[:kept]]
    # The part of another address is not taken for the beginning of this one.
    install_weights(server.url(folder="other"))
    assert server.ranges_asked == [None, f"bytes={first}-", None]
    install_weights(server.url(), force=True, progress=lambda *numbers: seen.append(numbers))
    assert seen == sorted(seen)
    assert (seen[0][0] > second, seen[-1]) == (has_ranges, (len(server.content), len(server.content)))
    assert server.ranges_asked[3:] == [f"bytes={second}-"]
    assert not list(paths.weights_dir().glob("*.part"))
    assert content()[NAME] == server.content


@pytest.mark.parametrize("extra", [0, 5])
def test_a_part_that_is_complete_or_longer_than_the_file(extra, server, monkeypatch):
    server.break_offs = [1_000_000]
    with pytest.raises(RequirementError):
        install_weights(server.url())
    (part,) = paths.weights_dir().glob(f"*/{NAME}")
    part.write_bytes(server.content + bytes(extra))
    monkeypatch.setattr(weights, "OPENAI_URL", server.url())
    install_weights(None)
    assert content()[NAME] == server.content
    length = len(server.content) + extra
    assert server.ranges_asked == [None, f"bytes={length}-", *([None] if extra else [])]


def test_a_wrong_file_is_removed(server, weight_file):
    url, wanted = server.url(), file_sha256(weight_file)
    server.sends_length = False
    server.content = server.content[:-1] + bytes([server.content[-1] ^ 1])
    with pytest.raises(InputError, match=rf"wrong or damaged file: its sha256 is not {wanted}\. It was removed"):
        install_weights(url)
    assert content() == {}
    server.content = weight_file.read_bytes()
    assert install_weights(url)["sha256"] == wanted


def test_the_record_of_another_file_of_that_name_is_not_the_downloads(server, weight_file, tmp_path):
    shutil.copy(weight_file, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "hidden_act": "gelu"}))
    assert install_weights(str(tmp_path))["activation"] == "gelu"
    url = server.url("model.safetensors")
    with pytest.raises(UsageError, match=f"its activation(.|\n)*{url} --activation quickgelu"):
        install_weights(url, force=True)
    assert install_weights(url, activation="quick_gelu", force=True)["activation"] == "quick_gelu"
    assert server.ranges_asked[-1] is not None  # what had arrived was kept


def test_servers_that_refuse(server):
    server.status = 404
    with pytest.raises(RequirementError, match=r"the server answers 404(.|\n)*focus prepare weights PATH"):
        install_weights(server.url())
    assert content() == {}
