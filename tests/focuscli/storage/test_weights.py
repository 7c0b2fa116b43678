"""Installing weights: from files, and from a local server that breaks off, sends wrong files or knows no ranges."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import threading
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_impl import CLIP, CLIPConfig, TextConfig, VisionConfig
from focuscli.errors import InputError, RequirementError
from focuscli.storage import paths, weights
from focuscli.storage.files import file_sha256
from focuscli.storage.weights import OPENAI_VIT_B_16, install_weights, installed_weights, resolve_weights


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory) -> Path:
    """A complete CLIP, the smallest whose shape can be inferred; its name tells the activation."""
    torch.manual_seed(0)
    config = CLIPConfig(VisionConfig((32, 32), 16, 64, 1, 1), TextConfig(width=64, layers=1, heads=1), 32)
    path = tmp_path_factory.mktemp("source") / "openai-small.safetensors"
    save_file({name: tensor.half() for name, tensor in CLIP(config).state_dict().items()}, path)
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one content under every address, with the faults that the server's attributes ask for."""

    server: Server

    def do_GET(self) -> None:
        wish = self.headers.get("Range")
        self.server.ranges_asked.append(wish)
        content, start = self.server.content, 0
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if wish and self.server.knows_ranges:
            start = int(wish.removeprefix("bytes=").removesuffix("-"))
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
        if self.server.tells_length:
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
    knows_ranges = True
    tells_length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges_asked: list[str | None] = []
        self.break_offs: list[int] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""

    def url(self, name: str = "openai-small.safetensors", folder: str = "") -> str:
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


def left_over() -> list[str]:
    """Names of everything in the weights folder."""
    folder = paths.weights_dir()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# From a file


def test_a_file_is_copied_with_a_record(weight_file):
    installed = install_weights(str(weight_file))
    assert installed.path == paths.weights_dir() / weight_file.name
    assert installed.path.read_bytes() == weight_file.read_bytes()
    assert installed.sha256 == file_sha256(weight_file)
    assert (installed.format, installed.activation) == ("safetensors/openai", "quick_gelu")
    assert installed.tensors == len(load_file(weight_file))
    assert installed_weights() == resolve_weights(None) == installed.path
    record = json.loads((paths.weights_dir() / f"{weight_file.name}.json").read_text())
    assert record["sha256"] == installed.sha256
    assert left_over() == [weight_file.name, f"{weight_file.name}.json"]


def test_a_file_of_another_name_keeps_its_activation(weight_file, tmp_path):
    folder = tmp_path / "hub"
    folder.mkdir()
    shutil.copy(weight_file, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 32}}))
    installed = install_weights(str(folder))
    assert installed.activation == "gelu"

    from clip_impl.weights import read_state_dict

    again = read_state_dict(installed.path)
    assert (again.activation, again.activation_source) == ("gelu", f"{installed.path.name}.json")


def test_what_is_installed_is_replaced_only_by_force(weight_file, tmp_path):
    install_weights(str(weight_file))
    other = tmp_path / "openai-other.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weight_file).items()}, other)
    with pytest.raises(InputError, match=r"installed already; nothing was changed(.|\n)*--force"):
        install_weights(str(other))
    assert installed_weights() == paths.weights_dir() / weight_file.name
    assert install_weights(str(other), force=True).sha256 == file_sha256(other)
    assert installed_weights() == paths.weights_dir() / other.name
    assert left_over() == [other.name, f"{other.name}.json"]


def test_a_bad_file_leaves_the_installed_one(weight_file, tmp_path):
    install_weights(str(weight_file))
    before = {name: (paths.weights_dir() / name).read_bytes() for name in left_over()}
    bad = tmp_path / "openai-bad.safetensors"
    bad.write_bytes(weight_file.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or cut off"):
        install_weights(str(bad), force=True)
    save_file({name: t for name, t in load_file(weight_file).items() if name != "ln_final.bias"}, bad)
    with pytest.raises(InputError, match=r"1 missing: ln_final\.bias"):
        install_weights(str(bad), force=True)
    bad.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(InputError, match="web page"):
        install_weights(str(bad), force=True)
    assert {name: (paths.weights_dir() / name).read_bytes() for name in left_over()} == before


def test_a_file_that_is_not_there(weight_file):
    with pytest.raises(InputError, match="No such weight file") as raised:
        install_weights(str(weight_file.with_name("openai-smal.safetensors")))
    assert str(weight_file) in (raised.value.hint or "")
    assert raised.value.exit_code == 3


# Finding what is installed


def test_nothing_is_installed(monkeypatch):
    assert installed_weights() is None
    with pytest.raises(RequirementError, match=r"not found(.|\n)*focus prepare weights"):
        resolve_weights(None)
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    with pytest.raises(RequirementError) as raised:
        resolve_weights(None)
    # The wording is a contract of the command line.
    assert raised.value.problem == "CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1)."
    assert raised.value.hint == (
        "Put ViT-B-16.pt (335 MiB, sha256 5806e77c...) anywhere and run: focus prepare weights PATH"
    )
    assert raised.value.exit_code == 4


def test_a_name_or_a_path(weight_file):
    with pytest.raises(InputError, match="No such weight file"):
        resolve_weights(weight_file.name)
    installed = install_weights(str(weight_file))
    assert resolve_weights(weight_file.name) == installed.path
    assert resolve_weights(str(weight_file)) == weight_file


def test_openais_file_put_there_by_hand(weight_file):
    paths.weights_dir().mkdir(parents=True)
    by_hand = paths.weights_dir() / "ViT-B-16.pt"
    shutil.copy(weight_file, by_hand)
    assert resolve_weights(None) == by_hand


def test_openais_address_holds_the_digest():
    assert OPENAI_VIT_B_16.sha256 == "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    assert OPENAI_VIT_B_16.url.split("/")[-2:] == [OPENAI_VIT_B_16.sha256, OPENAI_VIT_B_16.name]


# By download


def test_download(server):
    seen: list[tuple[int, int | None]] = []
    installed = install_weights(server.url(), progress=lambda done, total: seen.append((done, total)))
    assert installed.path.read_bytes() == server.content
    assert installed.path.name == "openai-small.safetensors"
    assert left_over() == ["openai-small.safetensors", "openai-small.safetensors.json"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(server.content), len(server.content))
    assert len(seen) > 1
    assert server.ranges_asked == [None]


def test_the_default_is_openais_file(server, monkeypatch):
    monkeypatch.setattr(weights, "OPENAI_VIT_B_16", replace(OPENAI_VIT_B_16, url=server.url("ViT-B-16.pt")))
    assert install_weights(None).path == paths.weights_dir() / "ViT-B-16.pt"


def test_a_download_that_breaks_off_goes_on(server):
    first, second = 1_500_000, 4_000_000
    server.break_offs = [first, second]
    for kept in (first, second):
        with pytest.raises(RequirementError, match=rf"broke off.*{kept:,} bytes are kept(.|\n)*goes on from there"):
            install_weights(server.url())
        assert installed_weights() is None
        (part,) = left_over()
        assert (paths.weights_dir() / part).read_bytes() == server.content[:kept]
    seen: list[tuple[int, int | None]] = []
    installed = install_weights(server.url(), progress=lambda done, total: seen.append((done, total)))
    assert server.ranges_asked == [None, f"bytes={first}-", f"bytes={second}-"]
    assert installed.path.read_bytes() == server.content
    assert seen[0][0] > second
    assert seen[-1] == (len(server.content), len(server.content))
    assert left_over() == ["openai-small.safetensors", "openai-small.safetensors.json"]


def test_a_server_without_ranges_starts_anew(server):
    server.knows_ranges = False
    server.break_offs = [2_000_000]
    with pytest.raises(RequirementError, match="broke off"):
        install_weights(server.url())
    installed = install_weights(server.url())
    assert server.ranges_asked == [None, "bytes=2000000-"]
    assert installed.path.read_bytes() == server.content


def test_a_part_that_is_whole_already(server, monkeypatch):
    # Killed between the last byte and the look into the file.
    with monkeypatch.context() as patch:
        patch.setattr(weights, "_install", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            install_weights(server.url())
    (part,) = left_over()
    assert (paths.weights_dir() / part).read_bytes() == server.content
    assert install_weights(server.url()).path.read_bytes() == server.content
    assert server.ranges_asked == [None, f"bytes={len(server.content)}-"]


def test_a_part_that_is_longer_than_the_file(server):
    server.break_offs = [1_000_000]
    with pytest.raises(RequirementError):
        install_weights(server.url())
    (part,) = left_over()
    (paths.weights_dir() / part).write_bytes(bytes(len(server.content) + 5))
    assert install_weights(server.url()).path.read_bytes() == server.content


def test_ctrl_c_keeps_what_has_arrived(server):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_weights(server.url(), progress=stop)
    (part,) = left_over()
    kept = (paths.weights_dir() / part).stat().st_size
    assert 0 < kept < len(server.content)
    assert install_weights(server.url()).path.read_bytes() == server.content
    assert server.ranges_asked[1] == f"bytes={kept}-"


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_wrong_file_is_removed(tells_length, server, weight_file):
    url = server.url()
    server.tells_length = tells_length
    server.content = server.content[:-1] + bytes([server.content[-1] ^ 1])
    with pytest.raises(
        InputError, match=r"wrong or damaged file: sha256 (\w{64}), want (\w{64})\. It was removed"
    ) as raised:
        install_weights(url)
    found = re.findall(r"\w{64}", raised.value.problem.split(": sha256 ", 1)[1])
    assert found == [hashlib.sha256(server.content).hexdigest(), file_sha256(weight_file)]
    assert left_over() == []
    server.content = weight_file.read_bytes()
    assert install_weights(url).sha256 == file_sha256(weight_file)


@pytest.mark.parametrize("content", [b"<html>Sign in to download</html>", b"", b"PK\x03\x04 no zip"])
def test_a_file_without_known_digest_is_looked_into(content, server):
    server.content = content
    with pytest.raises(InputError):
        install_weights(server.url(folder="main"))
    assert left_over() == []


def test_a_failed_download_leaves_the_installed_file(server, weight_file):
    install_weights(str(weight_file))
    before = (paths.weights_dir() / weight_file.name).read_bytes()
    url = server.url()
    server.content = b"something else"
    with pytest.raises(InputError):
        install_weights(url, force=True)
    server.break_offs = [5]
    with pytest.raises(RequirementError):
        install_weights(url, force=True)
    assert installed_weights() == paths.weights_dir() / weight_file.name
    assert (paths.weights_dir() / weight_file.name).read_bytes() == before


def test_parts_of_two_addresses_are_not_mixed(server):
    server.break_offs = [1_000_000]
    with pytest.raises(RequirementError):
        install_weights(server.url("model.safetensors", folder="one-openai"))
    with pytest.warns(UserWarning, match="activation"):
        install_weights(server.url("model.safetensors", folder="other-openai"))
    assert server.ranges_asked == [None, None]


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_that_refuses(status, server):
    server.status = status
    with pytest.raises(RequirementError, match=rf"the server answers {status}(.|\n)*focus prepare weights PATH"):
        install_weights(server.url())
    assert left_over() == []


def test_no_server(server):
    server.server_close()
    with pytest.raises(RequirementError, match="Nothing has arrived"):
        install_weights(server.url())


@pytest.mark.parametrize("source", [None, "http://127.0.0.1:9/openai.pt"])
def test_offline_forbids_downloads(source, monkeypatch):
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    monkeypatch.setattr(weights, "download", lambda *_: pytest.fail("asked for a download"))
    with pytest.raises(RequirementError, match="FOCUS_OFFLINE=1"):
        install_weights(source)


def test_offline_allows_files(weight_file, monkeypatch):
    monkeypatch.setenv("FOCUS_OFFLINE", "1")
    assert install_weights(str(weight_file)).path.exists()


def test_too_little_space_is_found_before_the_download(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, 0))
    with pytest.raises(RequirementError, match=r"more than is free(.|\n)*FOCUS_HOME"):
        install_weights(server.url())
    assert left_over() == []


def test_an_address_without_a_file():
    with pytest.raises(InputError, match="no address of a file"):
        install_weights("http://127.0.0.1")
