"""CLIP weights on this machine: one file in `FOCUS_HOME/weights`, checked before it is put there.

Beside the file lies `<name>.json` with its sha256, format and activation: the `config.json` that says the activation is not
copied.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focuscli.errors import InputError, RequirementError, UsageError, closest
from focuscli.storage import files, paths

if TYPE_CHECKING:
    from clip_impl.weights import LoadedWeights

OPENAI_NAME = "ViT-B-16.pt"
OPENAI_SHA256 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
OPENAI_URL = f"https://openaipublic.azureedge.net/clip/models/{OPENAI_SHA256}/{OPENAI_NAME}"
_BY_HAND = f"Put {OPENAI_NAME} (335 MiB, sha256 {OPENAI_SHA256[:8]}...) anywhere and run: focus prepare weights PATH"
Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes in all (None if the server does not say)."""

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def install_weights(
    source: str | None,
    *,
    activation: str | None = None,
    force: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> dict[str, Any]:
    """Put CLIP weights into `paths.weights_dir()`.

    Args:
        source: a file, a folder as `transformers` saves it, an http(s) address, or None for OpenAI's ViT-B/16.
        activation: of the model, for a file that comes without it; see `clip_impl.weights.infer_activation`.
        force: replace what is installed.
        progress: called during a download.

    Returns:
        What was installed: its path, sha256, format, number of tensors, activation, and the names of unused tensors.

    Raises:
        UsageError: nothing says the activation; a download is kept then.
        InputError: something is installed already; the source does not exist or is not a complete CLIP; a download has
            another sha256 than its address says. Nothing is changed then.
        RequirementError: downloads are off or fail (the same call continues where it stopped), the disk is full.
    """
    present = installed_weights()
    source = source or OPENAI_URL
    local = not source.lower().startswith(("http://", "https://"))
    weights = None
    if local:
        file = _find(source).absolute()
        weights = _read(file, activation, str(file))
    if present is not None:  # said after what is wrong with a file, but before a download
        files.check_free(present, force=force)
    if weights is not None:
        record = _install(weights)
    elif paths.offline():
        raise RequirementError(f"Downloading is off (FOCUS_OFFLINE=1), so {source} cannot be fetched.", _BY_HAND)
    else:
        # A folder for each address: every hub has a model.safetensors, and the beginning of one must not be taken for that
        # of another. Under its own name, as the activation may show in nothing else.
        folder = paths.weights_dir() / f"{hashlib.sha256(source.encode()).hexdigest()[:8]}.part"
        part = folder / Path(urllib.parse.unquote(source.partition("?")[0])).name
        try:
            _download(source, part, progress)
            expected = re.search(r"/([0-9a-f]{64})/[^/]+$", source.lower())  # as in OpenAI's addresses
            if expected and files.file_sha256(part) != expected[1]:
                raise InputError(
                    f"{source} gave a wrong or damaged file: its sha256 is not {expected[1]}. It was removed.",
                    "Run the same command again; if that does not help, get the file in another way and run: "
                    "focus prepare weights PATH",
                )
            record = _install(_read(part, activation, source))
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)
    if present is not None and str(present) != record["path"]:
        present.unlink()
        present.with_name(f"{present.name}.json").unlink(missing_ok=True)
    return record


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
        raise RequirementError("CLIP ViT-B/16 weights not found, and downloading is off (FOCUS_OFFLINE=1).", _BY_HAND)
    raise RequirementError(
        f"CLIP ViT-B/16 weights not found (looked in {paths.weights_dir()}).",
        "Install them with: focus prepare weights   (downloads 335 MiB), or from a file: focus prepare weights PATH",
    )


def _read(path: Path, activation: str | None, source: str) -> LoadedWeights:
    """The weights in a file, which are those of a complete CLIP. `source` is what the user named."""
    from clip_impl.containers import ActivationError, WeightsError
    from clip_impl.weights import activation_hint, build_model, read_state_dict

    try:
        weights = read_state_dict(path, activation=activation)
        build_model(weights)
    except ActivationError as error:
        raise UsageError(error.problem, activation_hint(source)) from error
    except WeightsError as error:
        raise InputError(error.problem, error.hint) from error
    return weights


def _install(weights: LoadedWeights) -> dict[str, Any]:
    """Put weights in their place, as one file, with their record."""
    from clip_impl.weights import INDEX

    source, several = weights.path, weights.path.name.endswith(INDEX)
    target = paths.weights_dir() / (f"{source.resolve().parent.name}.safetensors" if several else source.name)
    if several:
        from safetensors.torch import save_file

        with files.atomic_path(target) as temporary:
            save_file({name: tensor.contiguous().clone() for name, tensor in weights.tensors.items()}, temporary)
    elif not (target.exists() and target.samefile(source)):
        with files.atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    record = {"sha256": files.file_sha256(target), "format": weights.format, "tensors": len(weights.tensors)}
    record |= {"activation": weights.activation, "unused": [*weights.unused]}
    files.write_json(target.with_name(f"{target.name}.json"), record)
    return {"path": str(target), **record}


def _download(url: str, part: Path, progress: Progress) -> None:
    """Complete the file `part` with the content of `url`: the rest by HTTP Range, or all from a server without ranges."""
    with files.write_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "focus", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            continues = response.status == 206
            length = response.headers.get("Content-Length")
            total = int(length) + (start if continues else 0) if length else None
            with part.open("ab" if continues else "wb") as file:
                while block := response.read(_BLOCK):
                    file.write(block)
                    progress(file.tell(), total)
                if total is not None and file.tell() < total:
                    raise ConnectionError("the connection broke off")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise RequirementError(
                f"{url} cannot be downloaded: the server answers {error.code} {error.reason}.",
                "Check the address; or download the file in another way and run: focus prepare weights PATH",
            ) from error
        if error.headers.get("Content-Range") != f"bytes */{start}":  # Not complete, but longer than the file.
            part.unlink()
            _download(url, part, progress)
    except (http.client.InvalidURL, ValueError) as error:
        raise InputError(f"{url} is not a usable address: {error}.", "Use one such as https://HOST/FILE") from error
    except (http.client.HTTPException, OSError) as error:
        kept = f"{part.stat().st_size:,} bytes are kept in {part}." if part.exists() else "Nothing has arrived."
        raise RequirementError(
            f"The download of {url} failed: {getattr(error, 'reason', None) or error}. {kept}",
            "Run the same command again: it continues from there. On a full disk, set FOCUS_HOME to another one.",
        ) from error


def _find(spec: str) -> Path:
    for path in (paths.user_path(spec), paths.weights_dir() / spec):
        if path.exists():
            return path
    known = {file.name: file for file in (*paths.weights_dir().glob("*"), *paths.user_path(spec).parent.glob("*"))}
    near = closest(Path(spec).name, known)
    raise InputError(
        f"No such weight file: {spec}.",
        f"Did you mean {known[near]}?" if near else "Name a CLIP weight file; by default the installed one is used.",
    )
