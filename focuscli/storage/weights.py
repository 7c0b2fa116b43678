"""CLIP weights on this machine: one file in `FOCUS_HOME/weights`, checked before it is put there.

Beside the file lies `<name>.json` with its sha256, format and activation: the `config.json` that says the activation is not
copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from focuscli.errors import InputError, RequirementError, closest
from focuscli.storage import files, paths
from focuscli.storage.download import Progress, download

if TYPE_CHECKING:
    from clip_impl.weights import LoadedWeights

OPENAI_NAME = "ViT-B-16.pt"
OPENAI_SHA256 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
OPENAI_URL = f"https://openaipublic.azureedge.net/clip/models/{OPENAI_SHA256}/{OPENAI_NAME}"


def install_weights(source: str | None, *, force: bool = False, progress: Progress | None = None) -> LoadedWeights:
    """Put CLIP weights into `paths.weights_dir()`.

    Args:
        source: a file, a folder as `transformers` saves it, an http(s) address, or None for OpenAI's ViT-B/16.
        force: replace what is installed.
        progress: called during a download.

    Raises:
        InputError: something is installed already; the source does not exist or is not a complete CLIP; a download has
            another sha256 than its address says. Nothing is changed then.
        RequirementError: downloads are off or fail (the same call continues where it stopped), the disk is full.
    """
    present = installed_weights()
    if present is not None:
        files.check_free(present, force=force)
    if source is not None and not source.lower().startswith(("http://", "https://")):
        return _install(_find(source), replaces=present)
    url = source or OPENAI_URL
    if paths.offline():
        raise _offline(f"Downloading is off (FOCUS_OFFLINE=1), so {url} cannot be fetched.")
    # A folder for each address: every hub has a model.safetensors, and the beginning of one must not be taken for that of
    # another. Under its own name, as the activation may show in nothing else.
    part = paths.weights_dir() / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}.part" / _file_name(url)
    try:
        download(url, part, progress)
        expected = re.search(r"/([0-9a-f]{64})/[^/]+$", url.lower())  # OpenAI's addresses hold the sha256 of the file.
        found = files.file_sha256(part) if expected else ""
        if expected and found != expected[1]:
            raise InputError(
                f"{url} gave a wrong or damaged file: sha256 {found}, expected {expected[1]}. It was removed.",
                "Run the same command again; if that does not help, get the file in another way and run: "
                "focus prepare weights PATH",
            )
        return _install(part, replaces=present, move=True)
    except InputError:
        shutil.rmtree(part.parent, ignore_errors=True)
        raise


def installed_weights() -> Path | None:
    """The installed weight file, or None: the one installed last, or a `ViT-B-16.pt` that was put there by hand."""
    folder = paths.weights_dir()
    records = [record for record in folder.glob("*.json") if record.with_suffix("").is_file()]
    if records:
        return max(records, key=lambda record: record.stat().st_mtime_ns).with_suffix("")
    default = folder / OPENAI_NAME
    return default if default.is_file() else None


def resolve_weights(spec: str | None) -> Path:
    """The weight file that a user names: a path, the name of a file in `paths.weights_dir()`, None for the installed one.

    Raises:
        RequirementError: None, and nothing is installed.
        InputError: nothing of that name.
    """
    if spec is not None:
        return _find(spec)
    installed = installed_weights()
    if installed is not None:
        return installed
    if paths.offline():
        raise _offline("CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1).")
    raise RequirementError(
        f"CLIP ViT-B/16 weights not found (looked in {paths.weights_dir()}).",
        "Install them with: focus prepare weights   (downloads 335 MiB), or from a file: focus prepare weights PATH",
    )


def _file_name(url: str) -> str:
    name = ""
    with contextlib.suppress(ValueError):  # for example [::1 without its bracket
        address = urllib.parse.urlsplit(url)
        name = Path(urllib.parse.unquote(address.path)).name if address.hostname else ""
    if not name:
        raise InputError(f"{url} is not the address of a file.", "Use an address such as https://HOST/FOLDER/FILE")
    return name


def _install(source: Path, *, replaces: Path | None, move: bool = False) -> LoadedWeights:
    """Check a file, copy it (or `move` a download out of its folder) to its place and write its record; then remove what it
    replaces."""
    from clip_impl.containers import WeightsError
    from clip_impl.weights import check_model, read_state_dict

    try:
        weights = read_state_dict(source)
        check_model(weights)
    except WeightsError as error:
        raise InputError(error.problem, error.hint) from error
    target = paths.weights_dir() / weights.path.name
    if move:
        os.replace(weights.path, target)
        source.parent.rmdir()
    elif not (target.exists() and target.samefile(weights.path)):
        with files.atomic_path(target) as temporary:
            shutil.copyfile(weights.path, temporary)
    record = {"sha256": weights.sha256, "format": weights.format, "activation": weights.activation}
    files.write_json(_record(target), record)
    if replaces is not None and replaces != target:
        _record(replaces).unlink(missing_ok=True)
        replaces.unlink(missing_ok=True)
    return replace(weights, path=target)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _find(spec: str) -> Path:
    path = Path(spec).expanduser()
    installed = paths.weights_dir() / spec
    if path.exists() or installed.is_file():
        return path if path.exists() else installed
    known = {file.name: file for file in (*paths.weights_dir().glob("*"), *path.parent.glob("*"))}
    near = closest(path.name, known)
    raise InputError(
        f"No such weight file: {spec}.",
        f"Did you mean {known[near]}?" if near else "Name a CLIP weight file; by default the installed one is used.",
    )


def _offline(problem: str) -> RequirementError:
    return RequirementError(
        problem,
        f"Put {OPENAI_NAME} (335 MiB, sha256 {OPENAI_SHA256[:8]}...) anywhere and run: focus prepare weights PATH",
    )
