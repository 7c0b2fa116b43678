"""Installing weights: from files, and from a local server that breaks off, sends wrong files or has no ranges."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig, read_state_dict
from clip_impl.config import OPENAI_SHA256
from focuscli.errors import FocusError, InputError, RequirementError
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
        asked = self.headers.get("Range")
        self.server.ranges_asked.append(asked)
        content, start = self.server.content, 0
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if asked and self.server.has_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.sends_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.server.break_offs.pop(0) if self.server.break_offs else len(content)
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    content = b""
    status = 200
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
    """Everything in the weights folder."""
    folder = paths.weights_dir()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


# From a file


def test_a_file_is_copied_with_a_record(weight_file, monkeypatch):
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    installed = install_weights(str(weight_file))
    assert installed.path == paths.weights_dir() / NAME
    assert installed.sha256 == file_sha256(weight_file)
    assert (installed.format, installed.activation) == ("safetensors/openai", "quick_gelu")
    assert installed.tensors == len(load_file(weight_file))
    assert installed_weights() == resolve_weights(None) == resolve_weights(NAME) == installed.path
    assert resolve_weights(str(weight_file)) == weight_file
    assert list(content()) == [NAME, f"{NAME}.json"]
    assert content()[NAME] == weight_file.read_bytes()
    assert json.loads(content()[f"{NAME}.json"])["sha256"] == installed.sha256


def test_a_copy_keeps_its_activation(weight_file, tmp_path):
    shutil.copy(weight_file, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 32}}))
    installed = install_weights(str(tmp_path))
    assert installed.activation == "gelu"
    again = read_state_dict(installed.path)
    assert (again.activation, again.activation_source) == ("gelu", f"{installed.path.name}.json")


def test_installed_weights_are_replaced_only_by_force(weight_file, tmp_path):
    install_weights(str(weight_file))
    other = tmp_path / "openai-other.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weight_file).items()}, other)
    with pytest.raises(InputError, match=r"exists already; nothing was changed(.|\n)*--force"):
        install_weights(str(other))
    assert installed_weights() == paths.weights_dir() / NAME
    assert install_weights(str(other), force=True).sha256 == file_sha256(other)
    assert list(content()) == [other.name, f"{other.name}.json"]
    assert install_weights(other.name, force=True).path == installed_weights()  # from its own place


def test_a_failed_installation_leaves_the_installed_file(server, weight_file, tmp_path):
    install_weights(str(weight_file))
    before = content()
    bad = tmp_path / "openai-bad.safetensors"
    for bad_content, message in (
        (weight_file.read_bytes()[:-100], "damaged or cut off"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
    ):
        bad.write_bytes(bad_content)
        with pytest.raises(InputError, match=message):
            install_weights(str(bad), force=True)
    save_file({name: t for name, t in load_file(weight_file).items() if name != "ln_final.bias"}, bad)
    with pytest.raises(InputError, match=r"1 missing: ln_final\.bias"):
        install_weights(str(bad), force=True)
    url = server.url()
    server.content = b"something else"
    with pytest.raises(InputError):
        install_weights(url, force=True)
    assert content() == before


def test_openais_file_put_there_by_hand(weight_file):
    paths.weights_dir().mkdir(parents=True)
    by_hand = paths.weights_dir() / "ViT-B-16.pt"
    shutil.copy(weight_file, by_hand)
    assert resolve_weights(None) == by_hand


def test_openais_address_holds_the_digest():
    assert OPENAI_SHA256["ViT-B-16.pt"] == "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    assert weights.OPENAI_URL.split("/")[-2:] == [OPENAI_SHA256["ViT-B-16.pt"], "ViT-B-16.pt"]


@pytest.mark.parametrize(
    ("call", "argument", "offline", "code", "words"),
    [
        (resolve_weights, None, False, 4, "not found (looked in|focus prepare weights"),
        # The wording of the next one is a contract of the command line.
        (
            resolve_weights,
            None,
            True,
            4,
            "CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1).|"
            "Put ViT-B-16.pt (335 MiB, sha256 5806e77c...) anywhere and run: focus prepare weights PATH",
        ),
        (resolve_weights, NAME, False, 3, "No such weight file"),
        (install_weights, "{source}/openai-smal.safetensors", False, 3, f"No such weight file|Did you mean|/{NAME}?"),
        (install_weights, "zzz", False, 3, "No such weight file|Name a CLIP weight file"),
        (install_weights, None, True, 4, "FOCUS_OFFLINE=1|focus prepare weights PATH"),
        (install_weights, "http://127.0.0.1:9/openai.pt", True, 4, "FOCUS_OFFLINE=1"),
        (install_weights, "http://127.0.0.1", False, 3, "not the address of a file"),
        (install_weights, "http://[::1/openai.pt", False, 3, "not the address of a file"),
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


# By download


def test_download(server, monkeypatch):
    seen: list[tuple[int, int | None]] = []
    monkeypatch.setattr(weights, "OPENAI_URL", server.url())
    installed = install_weights(None, progress=lambda done, total: seen.append((done, total)))
    assert installed.path.name == NAME
    assert content()[NAME] == server.content
    assert list(content()) == [NAME, f"{NAME}.json"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(server.content), len(server.content))
    assert len(seen) > 1
    assert server.ranges_asked == [None]


def test_an_interrupted_download_continues(server):
    first, second = 1_500_000, 4_000_000
    server.break_offs = [first, second]
    for kept in (first, second):
        with pytest.raises(RequirementError, match=rf"broke off.*{kept:,} bytes are kept(.|\n)*continues from there"):
            install_weights(server.url())
        assert installed_weights() is None
        assert list(content().values()) == [server.content[:kept]]
    seen: list[tuple[int, int | None]] = []
    install_weights(server.url(), progress=lambda done, total: seen.append((done, total)))
    assert server.ranges_asked == [None, f"bytes={first}-", f"bytes={second}-"]
    assert content()[NAME] == server.content
    assert seen[0][0] > second
    assert seen[-1] == (len(server.content), len(server.content))


def test_ctrl_c_keeps_what_has_arrived(server):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_weights(server.url(), progress=stop)
    (kept,) = content().values()
    assert 0 < len(kept) < len(server.content)
    assert file_sha256(install_weights(server.url()).path) == hashlib.sha256(server.content).hexdigest()
    assert server.ranges_asked[1] == f"bytes={len(kept)}-"


def test_a_server_without_ranges_starts_again(server):
    server.has_ranges = False
    server.break_offs = [2_000_000]
    with pytest.raises(RequirementError, match="broke off"):
        install_weights(server.url())
    install_weights(server.url())
    assert server.ranges_asked == [None, "bytes=2000000-"]
    assert content()[NAME] == server.content


@pytest.mark.parametrize("extra", [0, 5])
def test_a_part_that_is_complete_or_longer_than_the_file(extra, server):
    server.break_offs = [1_000_000]
    with pytest.raises(RequirementError):
        install_weights(server.url())
    (part,) = content()
    (paths.weights_dir() / part).write_bytes(server.content + bytes(extra))
    install_weights(server.url())
    assert content()[NAME] == server.content
    length = len(server.content) + extra
    assert server.ranges_asked == [None, f"bytes={length}-", *([None] if extra else [])]


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_wrong_file_is_removed(sends_length, server, weight_file):
    url = server.url()
    server.sends_length = sends_length
    server.content = server.content[:-1] + bytes([server.content[-1] ^ 1])
    with pytest.raises(
        InputError, match=r"wrong or damaged file: sha256 (\w{64}), expected (\w{64})\. It was removed"
    ) as raised:
        install_weights(url)
    found = re.findall(r"\w{64}", raised.value.problem.split(": sha256 ", 1)[1])
    assert found == [hashlib.sha256(server.content).hexdigest(), file_sha256(weight_file)]
    assert content() == {}
    server.content = weight_file.read_bytes()
    assert install_weights(url).sha256 == file_sha256(weight_file)


@pytest.mark.parametrize("bad", [b"<html>Sign in to download</html>", b"", b"PK\x03\x04 no zip"])
def test_a_file_without_known_digest_is_checked(bad, server):
    server.content = bad
    with pytest.raises(InputError):
        install_weights(server.url(folder="main"))
    assert content() == {}


def test_parts_of_two_addresses_are_not_mixed(server):
    server.break_offs = [1_000_000]
    with pytest.raises(RequirementError):
        install_weights(server.url("model.safetensors", folder="one-openai"))
    with pytest.warns(UserWarning, match="activation"):
        install_weights(server.url("model.safetensors", folder="other-openai"))
    assert server.ranges_asked == [None, None]


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses(status, server):
    server.status = status
    with pytest.raises(RequirementError, match=rf"the server answers {status}(.|\n)*focus prepare weights PATH"):
        install_weights(server.url())
    assert content() == {}


def test_no_server(server):
    server.server_close()
    with pytest.raises(RequirementError, match="Nothing has arrived"):
        install_weights(server.url())


def test_too_little_space_is_found_before_the_download(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, 0))
    with pytest.raises(RequirementError, match=r"more than is free(.|\n)*FOCUS_HOME"):
        install_weights(server.url())
    assert content() == {}
